# A detector from random weights on little data, with mmdetection's runtime: AdamW with one rate for all layers, 60 epochs or as
# many as the data need, the learning rate falling along a cosine. For 4 images a step.
_base_ = ['./finetune_epochs.py', '../runtime.py']

epochs = 60
optim_wrapper = dict(
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=_base_.no_decay['custom_keys']),
)
param_scheduler = [_base_.warm_up, dict(_base_.decay, T_max=epochs)]
train_cfg = dict(max_epochs=epochs, val_interval=10)
default_hooks = dict(checkpoint=dict(interval=10), logger=dict(interval=10))
auto_scale_lr = dict(base_batch_size=4)
