# Swin-MLP-B with heads of 32 channels from random weights, 224x224: top-1 81.3.
_base_ = './swin_b_in1k.py'

model = dict(backbone=dict(type='mmswin.SwinMLP', window_size=7))
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
