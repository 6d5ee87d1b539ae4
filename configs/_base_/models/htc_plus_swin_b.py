# HTC++ on Swin-B: mmdetection's Hybrid Task Cascade with the box heads of the paper's Cascade Mask R-CNN, one Transformer
# block on the backbone's last map, and soft-NMS. The authors released neither configuration nor weights.
# - Counted: the published parameters and FLOPs of both sizes fit this structure and no other of 48: the semantic branch,
#   box heads of 4 convolutions and 1 fully connected layer for all classes in common, attention and MLP in the extra
#   block, windows of 7.
# - Inferred: pre-norm, 32 channels a head and no position term in the block; GIoU and SyncBN in the box heads; soft-NMS
#   that decays linearly, with scores from 0.001 on (others' HTC on Swin).
_base_ = '../backbones.py'

# Behind _base_, by which mmengine tells this kind of configuration from its other one.
from mmengine.hub import get_config  # noqa: E402

# There the model stands in one file with data and schedule: take it alone.
model = get_config('mmdet::htc/htc_r50_fpn_1x_coco.py').model
model.backbone = dict(
    _base_.swin_t, arch='base', init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.base_22k)
)
model.neck = [
    dict(type='mmswin.GlobalBlock', channels=1024, num_heads=32, drop_path_rate=0.2),
    dict(model.neck, in_channels=[128, 256, 512, 1024]),
]
model.roi_head.bbox_head = [
    dict(
        head,
        type='Shared4Conv1FCBBoxHead',
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        reg_decoded_bbox=True,
        loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
    )
    for head in model.roi_head.bbox_head
]
model.test_cfg.rcnn.nms = dict(type='soft_nms', iou_threshold=0.5, min_score=0.001)
