# What makes RepPoints V2 on Swin-T small, for pictures of 200 to 500 pixels and random weights: half of the backbone's width, 64
# channels behind it.
channels = 64
norm = dict(type='GN', num_groups=16)
small = dict(
    backbone=dict(embed_dims=48, drop_path_rate=0.1, with_cp=False, init_cfg=None),
    neck=dict(in_channels=[96, 192, 384], out_channels=channels, norm_cfg=norm),
    bbox_head=dict(
        in_channels=channels, feat_channels=channels, point_feat_channels=channels, corner_channels=32, norm_cfg=norm
    ),
)
