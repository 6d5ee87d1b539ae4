# Swin-T, 512x512, 160k iterations: mIoU 44.5, with multi-scale and flip testing (--tta) 45.8 in the authors' release.
_base_ = [
    '_base_/models/upernet_swin_t.py',
    '_base_/datasets/ade20k.py',
    '_base_/schedules/adamw_160k.py',
    '_base_/runtime_segmentation.py',
]

model = dict(data_preprocessor=dict(size=_base_.crop_size))
