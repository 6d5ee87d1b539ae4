# Fine-tuning of a segmentation model: 8000 iterations, the learning rate falling along a cosine.
_base_ = './finetune.py'

iterations = 8000
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations // 20)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR', by_epoch=False, begin=100, end=iterations, T_max=iterations - 100, eta_min_ratio=0.01
    ),
]
