# Swin-L on ImageNet-22K from random weights, 224x224, trained as Swin-B.
_base_ = './swin_b_in22k.py'

model = dict(backbone=dict(arch='large'), head=dict(in_channels=1536))
