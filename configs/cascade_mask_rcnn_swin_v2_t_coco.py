# Swin V2-T with windows of 8, 3x, trained as with Swin-T. Nobody has published its accuracy.
_base_ = './cascade_mask_rcnn_swin_t_coco.py'

model = dict(backbone=dict(_base_.swin_v2_t, _delete_=True))
