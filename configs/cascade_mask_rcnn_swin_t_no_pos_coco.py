# Ablation, no position term: box AP 49.2, mask AP 42.6 in the paper, table 4.
_base_ = ['./cascade_mask_rcnn_swin_t_coco.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.no_pos)
