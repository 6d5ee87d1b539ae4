# Swin-L from ImageNet-22K, fine-tuned at 384x384 with windows of 12: top-1 87.3.
_base_ = './swin_b_in22k_in1k_384x384.py'

start = dict(type='Pretrained', checkpoint=_base_.pretrained.large_22k_384)
model = dict(backbone=dict(arch='large', init_cfg=start), head=dict(in_channels=1536))
