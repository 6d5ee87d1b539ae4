# Swin V2-B with windows of 8 from random weights, 256x256: top-1 84.2.
_base_ = './swin_v2_t_w8_in1k_256x256.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.5), head=dict(in_channels=1024))
