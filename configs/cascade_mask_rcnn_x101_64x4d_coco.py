# X101-64x4d, 3x, trained as with Swin-T: box AP 48.3, mask AP 41.7 in the paper.
_base_ = './cascade_mask_rcnn_r50_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt', depth=101, groups=64, base_width=4, init_cfg=dict(checkpoint=_base_.pretrained.resnext101_64x4d)
    )
)
