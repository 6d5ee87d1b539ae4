# Ablation, absolute position embedding instead of relative bias: mIoU 43.2 in the paper, table 4.
_base_ = ['./upernet_swin_t_ade20k.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.abs_pos)
