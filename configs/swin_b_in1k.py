# Swin-B from random weights, 224x224: top-1 83.5.
_base_ = './swin_t_in1k.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.5), head=dict(in_channels=1024))
