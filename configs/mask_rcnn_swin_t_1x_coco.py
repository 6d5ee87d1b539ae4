# Swin-T, 1x: box AP 43.7, mask AP 39.8 in the authors' release.
_base_ = [
    '_base_/models/mask_rcnn_swin_t.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/adamw_1x.py',
    '_base_/runtime.py',
]

model = dict(backbone=dict(drop_path_rate=0.1))
