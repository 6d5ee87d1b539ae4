# Swin-T, 1x: box AP 48.1, mask AP 41.7 in the authors' release.
_base_ = [
    '_base_/models/cascade_mask_rcnn_swin_t.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/adamw_1x.py',
    '_base_/runtime.py',
]

model = dict(backbone=dict(drop_path_rate=0.0))
