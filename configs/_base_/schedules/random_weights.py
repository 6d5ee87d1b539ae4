# A detector from random weights on little data: AdamW with one rate for all layers, as many epochs as the data need, the
# learning rate falling along a cosine. For 4 images a step.
_base_ = './finetune_epochs.py'

optim_wrapper = dict(
    constructor='mmswin.OptimWrapperConstructor',
    optimizer=dict(lr=5e-4),
    paramwise_cfg=dict(_delete_=True, custom_keys=_base_.no_decay['custom_keys']),
)
auto_scale_lr = dict(base_batch_size=4)
