# Swin-B from ImageNet-22K, fine-tuned at 384x384 with windows of 12: top-1 86.4.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet_384x384.py',
    '_base_/schedules/adamw_classification_finetune.py',
    '_base_/runtime_classification.py',
    '_base_/pretrained.py',
]

start = dict(type='Pretrained', checkpoint=_base_.pretrained.base_22k_384)
model = dict(
    backbone=dict(arch='base', drop_path_rate=0.1, window_size=12, init_cfg=start), head=dict(in_channels=1024)
)
