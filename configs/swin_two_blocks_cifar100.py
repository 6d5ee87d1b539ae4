# CIFAR-100 on one regular and one shifted block, as near as it can be to Keras' example of Swin; 150 epochs.
_base_ = [
    '_base_/models/swin_classifier_32px.py',
    '_base_/datasets/cifar100.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]
net = dict(patch_size=2, embed_dims=64, depths=(2,), num_heads=(8,), strides=(2,), out_indices=(0,), window_size=2)
more = dict(mlp_ratio=4, patch_norm=False, use_abs_pos_embed=True, pretrain_img_size=32, init_cfg=None)
rates = dict(drop_rate=0.03, attn_drop_rate=0.03, drop_path_rate=0.03)
model = dict(
    data_preprocessor=dict(mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0], to_rgb=True, num_classes=100),
    backbone=dict(**net, **more, **rates),
    head=dict(in_channels=64),
    train_cfg=dict(_delete_=True),
)
pipeline = [dict(type='LoadImageFromFile'), dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
train_dataloader = dict(dataset=dict(pipeline=pipeline))
optim_wrapper = dict(optimizer=dict(weight_decay=1e-4))
param_scheduler = []
train_cfg = dict(max_epochs=150, val_interval=5)
auto_scale_lr = dict(base_batch_size=128)
