# The ADE20K recipe: AdamW at batch 16 (8 GPUs x 2), no gradient clipping, linear warm-up, then linear decay to 0. The
# recipe is in float32; mmswin train --amp trains in mixed precision.
_base_ = './no_decay.py'

iterations = 160000
warm_up_iterations = 1500
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=_base_.no_decay,
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=warm_up_iterations),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=warm_up_iterations, end=iterations),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=iterations, val_interval=iterations // 10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
auto_scale_lr = dict(enable=False, base_batch_size=16)
