# Swin-T, 3x: box AP 50.5, mask AP 43.7 in the paper.
_base_ = [
    '_base_/models/cascade_mask_rcnn_swin_t.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
