# Swin-B, 3x: box AP 51.9, mask AP 45.0 in the paper.
_base_ = './cascade_mask_rcnn_swin_t_coco.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3, init_cfg=dict(checkpoint=_base_.pretrained.base)),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
