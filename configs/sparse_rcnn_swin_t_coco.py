# Sparse R-CNN on Swin-T, 3x: box AP 47.9 in the paper.
_base_ = [
    '_base_/models/sparse_rcnn_swin_t.py',
    '_base_/datasets/coco_detection_multiscale.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
