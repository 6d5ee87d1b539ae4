# Swin-S, 3x: box AP 51.8, mask AP 44.7 in the paper.
_base_ = './cascade_mask_rcnn_swin_t_coco.py'

model = dict(backbone=dict(arch='small', init_cfg=dict(checkpoint=_base_.pretrained.small)))
