# Swin-T from random weights, 224x224: top-1 81.3.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]
