# Swin-L from ImageNet-22K, 640x640, 160k iterations: mIoU 53.5 with multi-scale and flip testing (--tta) in the paper.
_base_ = './upernet_swin_b_in22k_ade20k_640x640.py'

model = dict(
    backbone=dict(arch='large', init_cfg=dict(checkpoint=_base_.pretrained.large_22k)),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
