# Swin-T, 3x: box AP 46.0, mask AP 41.6 in the authors' release.
_base_ = [
    '_base_/models/mask_rcnn_swin_t.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
