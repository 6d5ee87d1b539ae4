# Swin V2-B from ImageNet-22K at 192x192, fine-tuned at 384x384 with windows of 24: top-1 87.1.
_base_ = [
    '_base_/models/swin_v2_b_in22k.py',
    '_base_/datasets/imagenet_384x384.py',
    '_base_/schedules/adamw_classification_v2_finetune.py',
    '_base_/runtime_classification.py',
]

model = dict(backbone=dict(window_size=[24, 24, 24, 12]))
