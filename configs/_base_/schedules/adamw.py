# What all COCO recipes share: AdamW at batch 16 (8 GPUs x 2), mixed precision, no gradient clipping, linear warm-up.
_base_ = ['mmdet::_base_/schedules/schedule_1x.py', './no_decay.py']

optim_wrapper = dict(
    _delete_=True,
    type='AmpOptimWrapper',
    # mmengine's default constructor, except that a machine without an accelerator trains in float32 (and says so).
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=_base_.no_decay,
)
warm_up = dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)
auto_scale_lr = dict(enable=False, base_batch_size=16)
