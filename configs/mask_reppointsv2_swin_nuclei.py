# Nuclei by a small Mask RepPoints V2, with the data and the schedule of mask_rcnn_swin_nuclei.py.
_base_ = [
    '_base_/models/mask_reppointsv2_swin_t.py',
    '_base_/datasets/nuclei.py',
    '_base_/schedules/random_weights.py',
    '_base_/runtime.py',
]
epochs, channels = 30, 64
norm = dict(type='GN', num_groups=16)
model = dict(
    backbone=dict(embed_dims=48, drop_path_rate=0.1, with_cp=False, init_cfg=None),
    neck=dict(in_channels=[96, 192, 384], out_channels=channels, norm_cfg=norm),
    bbox_head=dict(
        num_classes=1,
        in_channels=channels,
        feat_channels=channels,
        point_feat_channels=channels,
        corner_channels=32,
        norm_cfg=norm,
    ),
    mask_head=dict(mask_feature_head=dict(in_channels=channels, feat_channels=64, norm_cfg=dict(norm, _delete_=True))),
    test_cfg=dict(max_per_img=200),
)
train_cfg = dict(max_epochs=epochs, val_interval=10)
param_scheduler = [_base_.warm_up, dict(_base_.decay, T_max=epochs)]
default_hooks = dict(checkpoint=dict(interval=10, save_best='coco/segm_mAP'), logger=dict(interval=10))
randomness = dict(seed=0)
