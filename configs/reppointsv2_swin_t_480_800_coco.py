# RepPoints V2 on Swin-T, 3x, with short sides from 480 to 800 as the paper says, not as released.
_base_ = [
    '_base_/models/reppointsv2_swin_t.py',
    '_base_/datasets/coco_detection_multiscale.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
