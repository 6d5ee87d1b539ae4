# Ablation, absolute position embedding besides relative bias: box AP 50.2, mask AP 43.4 in the paper, table 4.
_base_ = ['./cascade_mask_rcnn_swin_t_coco.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.abs_rel_pos)
