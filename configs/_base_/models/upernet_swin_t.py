# UPerNet with an auxiliary FCN head on stage 3, on Swin-T, for the 150 classes of ADE20K. Written out here, like all of
# segmentation: the maintained forks' mmengine does not find what stands behind "mmseg::".
_base_ = '../backbones.py'

norm = dict(type='SyncBN', requires_grad=True)
head = dict(
    num_classes=150,
    dropout_ratio=0.1,
    norm_cfg=norm,
    align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    ),
    backbone=dict(_base_.swin_t, drop_path_rate=0.3),
    decode_head=dict(
        head,
        type='UPerHead',
        in_channels=_base_.swin_t_channels,
        in_index=[0, 1, 2, 3],
        pool_scales=(1, 2, 3, 6),
        channels=512,
    ),
    auxiliary_head=dict(
        head,
        type='FCNHead',
        in_channels=_base_.swin_t_channels[2],
        in_index=2,
        channels=256,
        num_convs=1,
        concat_input=False,
        loss_decode=dict(head['loss_decode'], loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
