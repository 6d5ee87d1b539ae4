# X101-32x4d, 3x, trained as with Swin-T: box AP 48.1, mask AP 41.6 in the paper.
_base_ = './cascade_mask_rcnn_r50_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt', depth=101, groups=32, base_width=4, init_cfg=dict(checkpoint=_base_.pretrained.resnext101_32x4d)
    )
)
