# ADE20K at 640x640, for backbones from ImageNet-22K.
_base_ = './ade20k.py'

crop_size = (640, 640)
scale = (2560, 640)
sizes = dict(RandomResize=dict(scale=scale), RandomCrop=dict(crop_size=crop_size), Resize=dict(scale=scale))
train_pipeline = [dict(step, **sizes.get(step.type, {})) for step in _base_.train_pipeline]
test_pipeline = [dict(step, **sizes.get(step.type, {})) for step in _base_.test_pipeline]
resizes = [
    dict(type='Resize', scale=tuple(int(side * ratio) for side in scale), keep_ratio=True)
    for ratio in _base_.tta_ratios
]
views = _base_.tta_pipeline[1]
tta_pipeline = [_base_.load_every_image, dict(views, transforms=[resizes, *views.transforms[1:]])]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
