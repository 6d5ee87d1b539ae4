# Swin V2-S with windows of 8 from random weights, 256x256: top-1 83.7.
_base_ = './swin_v2_t_w8_in1k_256x256.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
