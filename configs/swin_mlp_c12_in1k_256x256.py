# Swin-MLP-T with heads of 12 channels from random weights, 256x256: top-1 79.6.
_base_ = './swin_mlp_c24_in1k_256x256.py'

model = dict(backbone=dict(arch='c12'))
