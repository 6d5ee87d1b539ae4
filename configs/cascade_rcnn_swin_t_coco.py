# cascade_mask_rcnn_swin_t_coco.py for data that has boxes and no masks.
_base_ = [
    '_base_/models/cascade_rcnn_swin_t.py',
    '_base_/datasets/coco_detection.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
