# Swin-B at 384x384 with windows of 12, fine-tuned from the one at 224x224: top-1 84.5.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet_384x384.py',
    '_base_/schedules/adamw_classification_finetune.py',
    '_base_/runtime_classification.py',
    '_base_/pretrained.py',
]

model = dict(backbone=dict(arch='base', drop_path_rate=0.5, window_size=12), head=dict(in_channels=1024))
load_from = _base_.pretrained.base
