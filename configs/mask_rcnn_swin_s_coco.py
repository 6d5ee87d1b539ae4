# Swin-S, 3x: box AP 48.5, mask AP 43.3 in the authors' release.
_base_ = './mask_rcnn_swin_t_coco.py'

model = dict(backbone=dict(arch='small', init_cfg=dict(checkpoint=_base_.pretrained.small)))
