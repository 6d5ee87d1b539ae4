# Mask R-CNN with FPN as in mmdetection, on Swin-T.
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', '../pretrained.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmswin.SwinTransformer',
        arch='tiny',
        drop_path_rate=0.2,
        init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.tiny)),
    neck=dict(in_channels=[96, 192, 384, 768]))
