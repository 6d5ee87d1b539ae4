# The same on Swin-T.
_base_ = './cascade_mask_rcnn_r50.py'

model = dict(backbone=dict(_base_.swin_t, _delete_=True), neck=dict(in_channels=_base_.swin_t_channels))
