# Swin V2-B pretrained on ImageNet-22K at 192 x 192, where its windows had 12 tokens a side, the last stage's 6.
_base_ = ['./swin_classifier.py', '../pretrained.py']

model = dict(
    backbone=dict(
        type='mmswin.SwinTransformerV2',
        arch='base',
        pretrained_window_sizes=[12, 12, 12, 6],
        init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.v2_base_22k),
    ),
    head=dict(in_channels=1024),
)
