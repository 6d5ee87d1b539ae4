# Sparse R-CNN on R-50, 3x, trained as with Swin-T: box AP 44.5 in the paper.
_base_ = [
    '_base_/models/sparse_rcnn_r50.py',
    '_base_/datasets/coco_detection_multiscale.py',
    '_base_/schedules/adamw_3x.py',
    '_base_/runtime.py',
]
