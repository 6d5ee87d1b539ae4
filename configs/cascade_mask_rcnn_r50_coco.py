# R-50, 3x, trained as with Swin-T: box AP 46.3, mask AP 40.1 in the paper.
_base_ = [
    '_base_/models/cascade_mask_rcnn_r50.py',
    '_base_/datasets/coco_instance.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
