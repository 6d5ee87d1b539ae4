# Swin V2-S with windows of 16 from random weights, 256x256: top-1 84.1.
_base_ = './swin_v2_s_w8_in1k_256x256.py'

model = dict(backbone=dict(window_size=[16, 16, 16, 8]))
