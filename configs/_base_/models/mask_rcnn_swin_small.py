# A small Mask R-CNN for pictures of 200 to 500 pixels and random weights: Swin-T of half its width, 64 channels behind it,
# anchors from 8 pixels on, group norms, which need no large batches.
_base_ = './mask_rcnn_swin_t.py'

channels = 64
norm = dict(type='GN', num_groups=16)
heads = dict(in_channels=channels, conv_out_channels=channels)
regions = dict(out_channels=channels, finest_scale=14)
model = dict(
    backbone=dict(embed_dims=48, drop_path_rate=0.0, init_cfg=None),
    neck=dict(in_channels=[48, 96, 192, 384], out_channels=channels, norm_cfg=norm),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[2, 4])),
    roi_head=dict(
        bbox_roi_extractor=regions,
        mask_roi_extractor=dict(regions, roi_layer=dict(output_size=7)),
        bbox_head=dict(
            heads, type='ConvFCBBoxHead', num_shared_convs=1, num_shared_fcs=1, fc_out_channels=256, norm_cfg=norm
        ),
        mask_head=dict(heads, num_convs=2, norm_cfg=norm),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(min_pos_iou=0.1)),
        rpn_proposal=dict(nms_pre=500, max_per_img=200),
        rcnn=dict(sampler=dict(num=128, pos_fraction=0.5), mask_size=14),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=300)),
)
