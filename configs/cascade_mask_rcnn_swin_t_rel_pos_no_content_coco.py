# Ablation, the relative bias as the only term of attention: box AP 48.2, mask AP 41.9 in the paper, table 4.
_base_ = ['./cascade_mask_rcnn_swin_t_coco.py', './_base_/ablations.py']

model = dict(backbone=_base_.ablations.rel_pos_no_content)
