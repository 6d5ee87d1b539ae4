# Swin-B from ImageNet-22K, 640x640, 160k iterations: mIoU 51.6 with multi-scale and flip testing (--tta) in the paper.
# Windows of 7, as the paper's 1841 G multiply-adds tell; windows of 12 would need 1892 G.
_base_ = [
    '_base_/models/upernet_swin_t.py',
    '_base_/datasets/ade20k_640x640.py',
    '_base_/schedules/adamw_160k.py',
    '_base_/runtime_segmentation.py',
]

model = dict(
    data_preprocessor=dict(size=_base_.crop_size),
    backbone=dict(arch='base', init_cfg=dict(checkpoint=_base_.pretrained.base_22k)),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
