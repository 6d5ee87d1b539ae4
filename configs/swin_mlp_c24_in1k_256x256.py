# Swin-MLP-T with heads of 24 channels from random weights, 256x256: top-1 79.4.
_base_ = [
    '_base_/models/swin_classifier.py',
    '_base_/datasets/imagenet_256x256.py',
    '_base_/schedules/adamw_classification.py',
    '_base_/runtime_classification.py',
]

model = dict(backbone=dict(type='mmswin.SwinMLP', arch='c24', window_size=8))
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
