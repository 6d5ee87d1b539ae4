# A Swin of 2.0 M parameters for pictures of 32 pixels: patches of 4, which cost half of patches of 2, windows of 4 tokens, two
# stages on 8 x 8 and 4 x 4 tokens. For some tens of epochs: weights that start larger.
_base_ = './swin_classifier.py'

model = dict(
    backbone=dict(
        arch=None,
        patch_size=4,
        window_size=4,
        embed_dims=96,
        depths=(2, 6),
        num_heads=(3, 6),
        mlp_ratio=2,
        strides=(4, 2),
        out_indices=(1,),
        drop_path_rate=0.05,
        with_cp=False,
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.06),
    ),
    head=dict(num_classes=100, in_channels=192),
    train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[0.5]),
)
