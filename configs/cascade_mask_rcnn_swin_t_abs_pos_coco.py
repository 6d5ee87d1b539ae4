# Ablation, absolute position embedding instead of relative bias: box AP 49.0, mask AP 42.4 in the paper, table 4.
_base_ = ['./cascade_mask_rcnn_swin_t_coco.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.abs_pos)
