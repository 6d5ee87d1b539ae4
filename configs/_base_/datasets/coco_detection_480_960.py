# Boxes alone, short sides from 480 to 960.
_base_ = './coco_detection_multiscale.py'

larger = dict(type='RandomChoiceResize', scales=[(side, 1333) for side in range(480, 961, 32)], keep_ratio=True)
train_pipeline = [larger if step.type == 'RandomChoiceResize' else step for step in _base_.train_pipeline]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
