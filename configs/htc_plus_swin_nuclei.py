# Nuclei by a small HTC++ without its semantic branch, with the data and the schedule of mask_rcnn_swin_nuclei.py.
_base_ = ['_base_/models/htc_plus_swin_b.py', '_base_/datasets/nuclei.py', '_base_/schedules/random_weights.py']
channels = 64
norm = dict(type='GN', num_groups=16)
heads = dict(num_classes=1, in_channels=channels, conv_out_channels=channels, norm_cfg=norm)
regions = dict(out_channels=channels, finest_scale=14)
block, pyramid = _base_.model.neck
samples = dict(
    sampler=dict(type='RandomSampler', num=128, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=True), mask_size=14
)
model = dict(
    data_preprocessor=dict(pad_seg=False),
    backbone=dict(arch='tiny', embed_dims=48, drop_path_rate=0.1, with_cp=False, init_cfg=None),
    neck=[
        dict(block, channels=384, num_heads=12, drop_path_rate=0.1),
        dict(pyramid, in_channels=[48, 96, 192, 384], out_channels=channels, norm_cfg=norm),
    ],
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[2, 4])),
    roi_head=dict(
        semantic_roi_extractor=None,
        semantic_head=None,
        bbox_roi_extractor=regions,
        mask_roi_extractor=dict(regions, roi_layer=dict(output_size=7)),
        bbox_head=[dict(head, **heads, fc_out_channels=256) for head in _base_.model.roi_head.bbox_head],
        mask_head=[dict(head, **heads, num_convs=2) for head in _base_.model.roi_head.mask_head],
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(min_pos_iou=0.1)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=[dict(stage, **samples) for stage in _base_.model.train_cfg.rcnn],
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300), rcnn=dict(max_per_img=200)),
)
train_cfg = dict(max_epochs=30)
param_scheduler = [_base_.warm_up, dict(_base_.decay, T_max=30)]
default_hooks = dict(checkpoint=dict(save_best='coco/segm_mAP'))
randomness = dict(seed=0)
