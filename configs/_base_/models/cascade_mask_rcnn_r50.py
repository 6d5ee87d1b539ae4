# Cascade Mask R-CNN with FPN as in mmdetection, on R-50, with the box heads of the paper ("giou, 4conv1f").
_base_ = ['mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py', '../backbones.py']

# Stages differ in their target stds (0.1/0.2, 0.05/0.1, 0.033/0.067), which are mmdetection's.
box_heads = [
    dict(
        head,
        type='ConvFCBBoxHead',
        num_shared_convs=4,
        num_shared_fcs=1,
        conv_out_channels=256,
        fc_out_channels=1024,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        reg_class_agnostic=False,
        reg_decoded_bbox=True,
        loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
    )
    for head in _base_.model.roi_head.bbox_head
]
model = dict(backbone=dict(init_cfg=_base_.resnet50_init), roi_head=dict(bbox_head=box_heads))
