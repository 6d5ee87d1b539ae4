# RepPoints V2 on Swin-T, 3x, short sides from 480 to 960 as released: box AP 50.0 in the paper.
_base_ = [
    '_base_/models/reppointsv2_swin_t.py',
    '_base_/datasets/coco_detection_480_960.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
