# Mask RepPoints V2 on Swin-T: masks by conditional convolutions, as CondInst has them, with an auxiliary mask in training.
_base_ = './reppointsv2_swin_t.py'

model = dict(
    type='mmswin.MaskRepPointsV2',
    data_preprocessor=dict(pad_mask=True),
    bbox_head=dict(type='mmswin.MaskRepPointsV2Head'),
    mask_head=dict(
        type='mmswin.AuxiliaryMaskHead',
        mask_feature_head=dict(
            in_channels=256,
            feat_channels=128,
            start_level=0,
            end_level=2,
            out_channels=8,
            mask_stride=8,
            num_stacked_convs=4,
            norm_cfg=dict(type='BN', requires_grad=True),
        ),
        # Squared sums get eps once each.
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6),
    ),
    train_cfg=dict(
        init=dict(assigner=dict(type='mmswin.CentroidPointAssigner')),
        refine=dict(assigner=dict(type='mmswin.CentroidATSSAssigner')),
    ),
    test_cfg=dict(mask_thr=0.5),
)
