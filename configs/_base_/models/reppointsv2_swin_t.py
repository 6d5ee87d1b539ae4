# The same on Swin-T, whose first map it does not use.
_base_ = './reppointsv2_r50.py'

model = dict(
    backbone=dict(_base_.swin_t, _delete_=True, out_indices=(1, 2, 3)),
    neck=dict(in_channels=_base_.swin_t_channels[1:]),
)
