# mmpretrain's SimMIM on Swin-B: patches are masked in the backbone, one linear layer makes the pixels of a cell of its last
# map (32 x 32), and those that were masked are compared. Windows of 6 cover the last map of an image of 192 pixels.
model = dict(
    type='SimMIM',
    data_preprocessor=dict(
        type='SelfSupDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True
    ),
    backbone=dict(
        type='mmswin.MaskedSwinTransformer',
        arch='base',
        window_size=6,
        out_indices=(3,),
        shift_small_maps=False,
        drop_path_rate=0.0,
    ),
    neck=dict(type='SimMIMLinearDecoder', in_channels=1024, encoder_stride=32),
    head=dict(type='SimMIMHead', patch_size=4, loss=dict(type='PixelReconstructionLoss', criterion='L1', channel=3)),
)
