# Nuclei by a small Mask RepPoints V2, with the data and the schedule of mask_rcnn_swin_nuclei.py.
_base_ = [
    '_base_/models/mask_reppointsv2_swin_t.py',
    '_base_/models/reppointsv2_small.py',
    '_base_/datasets/nuclei.py',
    '_base_/schedules/random_weights.py',
]
features = dict(in_channels=_base_.channels, feat_channels=64, norm_cfg=dict(_base_.norm, _delete_=True))
model = dict(
    _base_.small,
    bbox_head=dict(_base_.small.bbox_head, num_classes=1),
    mask_head=dict(mask_feature_head=features),
    test_cfg=dict(max_per_img=200),
)
train_cfg = dict(max_epochs=30)
param_scheduler = [_base_.warm_up, dict(_base_.decay, T_max=30)]
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
randomness = dict(seed=0)
