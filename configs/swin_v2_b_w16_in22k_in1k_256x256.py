# Swin V2-B from ImageNet-22K at 192x192, fine-tuned at 256x256 with windows of 16: top-1 86.2.
_base_ = [
    '_base_/models/swin_v2_b_in22k.py',
    '_base_/datasets/imagenet_256x256.py',
    '_base_/schedules/adamw_classification_v2_finetune.py',
    '_base_/runtime_classification.py',
]

model = dict(backbone=dict(window_size=[16, 16, 16, 8]))
