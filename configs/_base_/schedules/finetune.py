# What fine-tuning on little data shares: AdamW, learning rates that fall layer by layer towards the image (what the
# first layers know needs the least change), ten times the rate for the layers that are new because the classes are
# others, and a rate that follows the batch: lr x images of a step / 16. The banner of a run prints the sum.
_base_ = './no_decay.py'

new_layers = dict(lr_mult=10.0)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    constructor='mmswin.LayerDecayOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        decay_rate=0.8,
        custom_keys=dict(
            _base_.no_decay['custom_keys'],
            fc_cls=new_layers,
            fc_reg=new_layers,
            conv_logits=new_layers,
            conv_seg=new_layers,
        ),
    ),
    clip_grad=dict(max_norm=10.0),
)
auto_scale_lr = dict(enable=True, base_batch_size=16)
