# RepPoints V2 on R-50, 3x, trained as with Swin-T: box AP 46.5 in the paper.
_base_ = [
    '_base_/models/reppointsv2_r50.py',
    '_base_/datasets/coco_detection_480_960.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
