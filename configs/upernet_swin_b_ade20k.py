# Swin-B, 512x512, 160k iterations: mIoU 48.1, with multi-scale and flip testing (--tta) 49.7 in the authors' release.
_base_ = './upernet_swin_t_ade20k.py'

model = dict(
    backbone=dict(arch='base', init_cfg=dict(checkpoint=_base_.pretrained.base)),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
