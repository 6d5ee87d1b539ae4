# Ablation, windows that never shift: mIoU 43.3 in the paper, table 4.
_base_ = ['./upernet_swin_t_ade20k.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.no_shift)
