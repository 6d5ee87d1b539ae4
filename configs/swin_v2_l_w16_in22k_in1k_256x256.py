# Swin V2-L from ImageNet-22K at 192x192, fine-tuned at 256x256 with windows of 16: top-1 86.9.
_base_ = './swin_v2_b_w16_in22k_in1k_256x256.py'

start = dict(type='Pretrained', checkpoint=_base_.pretrained.v2_large_22k)
model = dict(backbone=dict(arch='large', init_cfg=start), head=dict(in_channels=1536))
