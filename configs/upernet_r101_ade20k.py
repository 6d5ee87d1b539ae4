# R-101, 512x512, 160k iterations: mIoU 44.9 with multi-scale and flip testing (--tta) in the paper. That is the figure
# of mmsegmentation's own release (43.82, with --tta 44.85), so the recipe is mmsegmentation's too.
_base_ = [
    '_base_/models/upernet_swin_t.py',
    '_base_/datasets/ade20k.py',
    '_base_/schedules/sgd_160k.py',
    '_base_/runtime_segmentation.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(_base_.resnet101_v1c, _delete_=True),
    decode_head=dict(in_channels=_base_.resnet_channels),
    auxiliary_head=dict(in_channels=_base_.resnet_channels[2]),
)
