# The same on Swin-L.
_base_ = './htc_plus_swin_b.py'

block, pyramid = _base_.model.neck
model = dict(
    backbone=dict(arch='large', init_cfg=dict(checkpoint=_base_.pretrained.large_22k)),
    neck=[dict(block, channels=1536, num_heads=48), dict(pyramid, in_channels=[192, 384, 768, 1536])],
)
