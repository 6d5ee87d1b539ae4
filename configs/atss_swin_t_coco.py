# ATSS on Swin-T, 3x: box AP 47.2 in the paper.
_base_ = [
    '_base_/models/atss_swin_t.py',
    '_base_/datasets/coco_detection_multiscale.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
