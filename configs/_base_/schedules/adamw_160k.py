# The ADE20K recipe: AdamW at batch 16 (8 GPUs x 2), no gradient clipping, linear warm-up, then linear decay to 0. The
# recipe is in float32; tools/train.py --amp trains in mixed precision.
_base_ = ['mmseg::_base_/schedules/schedule_160k.py', './no_decay.py']

optimizer = None  # mmsegmentation's SGD goes
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=6e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=_base_.no_decay)
warm_up_iterations = 1500
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=False, begin=0, end=warm_up_iterations),
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0.0,
        by_epoch=False,
        begin=warm_up_iterations,
        end=_base_.train_cfg.max_iters),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='mIoU', rule='greater'))
auto_scale_lr = dict(enable=False, base_batch_size=16)
