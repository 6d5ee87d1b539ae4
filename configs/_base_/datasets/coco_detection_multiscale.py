# Boxes alone, with the simpler augmentation of ATSS and Sparse R-CNN: multi-scale without the crop.
_base_ = './coco_detection.py'

multiscale = dict(type='RandomChoiceResize', scales=_base_.short_sides, keep_ratio=True)
train_pipeline = [multiscale if step.type == 'RandomChoice' else step for step in _base_.train_pipeline]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
