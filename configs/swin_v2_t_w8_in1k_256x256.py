# Swin V2-T with windows of 8 from random weights, 256x256: top-1 81.8.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet_256x256.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]

model = dict(backbone=dict(type='mmswin.SwinTransformerV2', window_size=8))
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
