# The backbones that models take, with the widths of their maps. Detectors train with these rates of stochastic depth.
_base_ = './pretrained.py'

swin_t = dict(
    type='mmswin.SwinTransformer',
    arch='tiny',
    drop_path_rate=0.2,
    init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.tiny),
)
swin_t_channels = [96, 192, 384, 768]

# Trained for no published detector; the rate is Swin-T's. The released classifier's windows are 8 in all stages.
swin_v2_t = dict(
    type='mmswin.SwinTransformerV2',
    arch='tiny',
    window_size=8,
    drop_path_rate=0.2,
    init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.v2_tiny),
)

# The paper does not give DeiT-S a rate of its own, nor another schedule: it trains as Swin-T does.
deit_s = dict(
    type='mmswin.ViTPyramid',
    arch='deit-small',
    drop_path_rate=0.2,
    init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.deit_small),
)
deit_s_channels = [384, 384, 384, 384]

# Habits of mmdetection: stem and first stage frozen, batch norms keep their statistics but train weight and bias.
resnet50_init = dict(type='Pretrained', checkpoint=_base_.pretrained.resnet50)

# Habits of mmsegmentation: the stem of three 3x3 convolutions, nothing frozen, batch norms synchronised and training.
resnet101_v1c = dict(
    type='ResNetV1c',
    depth=101,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    dilations=(1, 1, 1, 1),
    strides=(1, 2, 2, 2),
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    norm_eval=False,
    style='pytorch',
    contract_dilation=True,
    init_cfg=dict(type='Pretrained', checkpoint=_base_.pretrained.resnet101_v1c),
)
resnet_channels = [256, 512, 1024, 2048]
