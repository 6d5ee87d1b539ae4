# Mask RepPoints V2 on Swin-T, 3x, as released: box AP 50.4, mask AP 43.8 there.
_base_ = [
    '_base_/models/mask_reppointsv2_swin_t.py',
    '_base_/datasets/coco_instance_480_960.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
