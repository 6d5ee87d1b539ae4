# Ablation, the relative bias as the only term of attention: mIoU 44.1 in the paper, table 4.
_base_ = ['./upernet_swin_t_ade20k.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.rel_pos_no_content)
