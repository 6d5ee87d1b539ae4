# Swin V2-T with windows of 16 from random weights, 256x256: top-1 82.8.
_base_ = './swin_v2_t_w8_in1k_256x256.py'

model = dict(backbone=dict(window_size=[16, 16, 16, 8]))
