# DeiT-S with a pyramid of transposed convolutions, 512x512, 160k iterations, trained as with Swin-T: mIoU 44.0 with
# multi-scale and flip testing (--tta) in the paper.
_base_ = './upernet_swin_t_ade20k.py'

model = dict(
    backbone=dict(_base_.deit_s, _delete_=True, drop_path_rate=0.3),
    decode_head=dict(in_channels=_base_.deit_s_channels),
    auxiliary_head=dict(in_channels=_base_.deit_s_channels[2]),
)
