# Swin V2-B from ImageNet-22K at 192x192, fine-tuned at 256x256 with windows of 16: top-1 86.2.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet_256x256.py',
    '_base_/schedules/adamw_classification_v2_finetune.py',
    '_base_/runtime_classification.py',
    '_base_/pretrained.py',
]

start = dict(type='Pretrained', checkpoint=_base_.pretrained.v2_base_22k)
windows = dict(window_size=[16, 16, 16, 8], pretrained_window_sizes=[12, 12, 12, 6])
backbone = dict(type='mmswin.SwinTransformerV2', arch='base', **windows, init_cfg=start)
model = dict(backbone=backbone, head=dict(in_channels=1024))
