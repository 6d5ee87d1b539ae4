# Swin-S, 512x512, 160k iterations: mIoU 47.6, with multi-scale and flip testing (--tta) 49.5 in the authors' release.
_base_ = './upernet_swin_t_ade20k.py'

model = dict(backbone=dict(arch='small', init_cfg=dict(checkpoint=_base_.pretrained.small)))
