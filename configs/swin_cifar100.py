# CIFAR-100 from random weights, 2.0 M parameters, 60 epochs.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/cifar100.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]
epochs, warm_up_epochs = 60, 3
# Patches of 4 cost half of patches of 2.
net = dict(patch_size=4, embed_dims=96, depths=(2, 6), num_heads=(3, 6), strides=(4, 2), out_indices=(1,))
start = dict(type='TruncNormal', layer='Linear', std=0.06)  # few epochs: weights that start larger
model = dict(
    data_preprocessor=_base_.preprocessor,
    backbone=dict(**net, with_cp=False, init_cfg=start),
    head=dict(in_channels=192),
)
# After two epochs Muon has 30 % where AdamW has 22; bias tables that learn faster give two of these.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='mmswin.Muon', lr=3e-3, weight_decay=0.1),
    paramwise_cfg=dict(custom_keys=dict(relative_position_bias_table=dict(lr_mult=10.0))),
)
train_dataloader = dict(batch_size=256)
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs, val_interval=5)
default_hooks = dict(checkpoint=dict(interval=5, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=256)
randomness = dict(seed=0)
