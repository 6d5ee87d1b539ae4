# A Swin for pictures of 32 pixels: patches of 2, windows of 4 tokens, three stages on 16 x 16, 8 x 8 and 4 x 4 tokens.
_base_ = './swin_classifier.py'

model = dict(
    backbone=dict(
        arch=None,
        patch_size=2,
        window_size=4,
        embed_dims=64,
        depths=(2, 4, 2),
        num_heads=(2, 4, 8),
        mlp_ratio=2,
        strides=(2, 2, 2),
        out_indices=(2,),
        drop_path_rate=0.05,
    ),
    head=dict(num_classes=100, in_channels=256),
    train_cfg=dict(augments=[dict(type='CutMix', alpha=1.0)], probs=[0.5]),
)
