# Mask R-CNN with FPN as in mmdetection, on Swin-T.
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', '../backbones.py']

model = dict(backbone=dict(_base_.swin_t, _delete_=True), neck=dict(in_channels=_base_.swin_t_channels))
