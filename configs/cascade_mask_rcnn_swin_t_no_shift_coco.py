# Ablation, windows that never shift: box AP 47.7, mask AP 41.5 in the paper, table 4.
_base_ = ['./cascade_mask_rcnn_swin_t_coco.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.no_shift)
