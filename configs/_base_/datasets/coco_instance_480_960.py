# Boxes and masks, short sides anywhere from 480 to 960, without the crop.
_base_ = './coco_instance.py'

larger = dict(type='RandomResize', scale=[(480, 1333), (960, 1333)], keep_ratio=True)
train_pipeline = [larger if step.type == 'RandomChoice' else step for step in _base_.train_pipeline]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
