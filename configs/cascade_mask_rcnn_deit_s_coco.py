# DeiT-S with a pyramid of transposed convolutions, 3x, trained as with Swin-T: box AP 48.0, mask AP 41.4 in the paper.
_base_ = './cascade_mask_rcnn_r50_coco.py'

model = dict(backbone=dict(_base_.deit_s, _delete_=True), neck=dict(in_channels=_base_.deit_s_channels))
