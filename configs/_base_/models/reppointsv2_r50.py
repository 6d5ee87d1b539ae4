# RepPoints V2 as the authors of Swin trained it, with BiFPN, quality focal loss and GIoU, on R-50. They released the model
# on Swin-T alone; this one has another backbone, treated as in mmdetection.
_base_ = '../backbones.py'

model = dict(
    type='RepPointsDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=_base_.resnet50_init,
    ),
    neck=dict(type='mmswin.BiFPN', in_channels=_base_.resnet_channels[1:]),
    bbox_head=dict(type='mmswin.RepPointsV2Head', num_classes=80, in_channels=256),
    train_cfg=dict(
        init=dict(assigner=dict(type='PointAssigner', scale=4, pos_num=1), pos_weight=-1),
        refine=dict(assigner=dict(type='mmswin.MultiLevelATSSAssigner', topk=9), pos_weight=-1),
    ),
    test_cfg=dict(
        nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.6), max_per_img=100
    ),
)
