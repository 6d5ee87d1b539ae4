"""Tiny networks for tests: import them with `from models import ...` (pytest puts this folder on the path).

mmsegmentation installs a top-level package named tests, so `import tests.models` would find another.
"""

from typing import Any

import torch

from mmswin.backbones import SwinTransformer

# Every kind of block: with and without a shift, and a stage with more than two heads.
TINY: dict[str, Any] = dict(embed_dims=12, depths=(1, 1, 2, 1), num_heads=(1, 2, 3, 4), window_size=4)
# A shifted block in each stage.
TINY_SHIFTED: dict[str, Any] = {**TINY, 'depths': (2, 2, 2, 2)}


def swin(**changes: Any) -> SwinTransformer:
    """The tiny Swin with seeded weights far enough from their initial values that no part of them is trivial."""
    torch.manual_seed(0)
    model = SwinTransformer(**{**TINY, **changes})
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model


# Computed module by module with all kept, and as ops/execution.py computes it.
PLAIN: dict[str, Any] = dict(attn_backend='reference', with_cp=False)
LEAN: dict[str, Any] = {}


def nets(
    dtype: torch.dtype = torch.float64,
    ways: Any = (PLAIN, LEAN),
    network: type[SwinTransformer] = SwinTransformer,
    **changes: Any,
) -> list[SwinTransformer]:
    """Swins of three stages that are alike but for the way of computing; changes are for all."""
    made = []
    for way in ways:
        torch.manual_seed(0)
        net = network(embed_dims=8, depths=(2, 2, 2), num_heads=(1, 2, 4), strides=(4, 2, 2), out_indices=(0, 1, 2),
                      **{**way, **changes})  # fmt: skip
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        made.append(net.to(dtype))
    return made


def backbone(**changes: Any) -> dict[str, Any]:
    """The config of a Swin with one block a stage and maps of 8, 16, 32 and 64 channels."""
    small = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), window_size=4)
    return {'type': 'mmswin.SwinTransformer', **small, **changes}


def retinanet(num_classes: int = 2, **changes: Any) -> dict[str, Any]:
    """The config of mmdet's RetinaNet on three maps of the tiny backbone; changes are the backbone's."""
    norm = dict(type='SyncBN', requires_grad=True)
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
    anchors = dict(type='AnchorGenerator', octave_base_scale=3, scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32])
    return dict(
        type='RetinaNet',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=32),
        backbone=backbone(**{'out_indices': (1, 2, 3), **changes}),
        neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=3, norm_cfg=norm),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=num_classes,
            in_channels=16,
            stacked_convs=1,
            feat_channels=16,
            anchor_generator=anchors,
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        ),
        train_cfg=dict(assigner=assigner, allowed_border=-1, pos_weight=-1, debug=False),
        test_cfg=dict(
            nms_pre=50, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5
        ),
    )


def reppointsv2(num_classes: int = 2, **changes: Any) -> dict[str, Any]:
    """The config of RepPoints V2 on the tiny backbone, with all its levels; changes are the backbone's."""
    norm = dict(type='GN', num_groups=4)
    return dict(
        type='RepPointsDetector',
        data_preprocessor=dict(type='DetDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, pad_size_divisor=32),
        backbone=backbone(**{'out_indices': (1, 2, 3), **changes}),
        neck=dict(type='mmswin.BiFPN', in_channels=[16, 32, 64], out_channels=16, norm_cfg=norm),
        bbox_head=dict(
            type='mmswin.RepPointsV2Head',
            num_classes=num_classes,
            in_channels=16,
            feat_channels=16,
            point_feat_channels=16,
            corner_channels=8,
            norm_cfg=norm,
        ),
        train_cfg=dict(
            init=dict(assigner=dict(type='PointAssigner', scale=4, pos_num=1), pos_weight=-1),
            refine=dict(assigner=dict(type='mmswin.MultiLevelATSSAssigner', topk=9), pos_weight=-1),
        ),
        test_cfg=dict(
            nms_pre=50, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.6), max_per_img=5
        ),
    )


def mask_reppointsv2(num_classes: int = 2, **changes: Any) -> dict[str, Any]:
    """The config of Mask RepPoints V2 on the tiny backbone; changes are the backbone's."""
    model = reppointsv2(num_classes, **changes)
    model['train_cfg']['init']['assigner']['type'] = 'mmswin.CentroidPointAssigner'
    model['train_cfg']['refine']['assigner']['type'] = 'mmswin.CentroidATSSAssigner'
    features = dict(in_channels=16, feat_channels=8, start_level=0, end_level=2, out_channels=8, mask_stride=8)
    return dict(
        model,
        type='mmswin.MaskRepPointsV2',
        data_preprocessor=dict(model['data_preprocessor'], pad_mask=True),
        bbox_head=dict(model['bbox_head'], type='mmswin.MaskRepPointsV2Head'),
        mask_head=dict(
            type='mmswin.AuxiliaryMaskHead',
            mask_feature_head=dict(features, num_stacked_convs=1, norm_cfg=dict(type='BN')),
            loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6),
        ),
        test_cfg=dict(model['test_cfg'], mask_thr=0.5),
    )


def htc(num_classes: int = 2, semantic: bool = True, **changes: Any) -> dict[str, Any]:
    """The config of HTC++ on the tiny backbone, with few regions; changes are the backbone's."""
    regions = dict(type='SingleRoIExtractor', out_channels=8, featmap_strides=[4, 8, 16, 32])
    layer = dict(type='RoIAlign', sampling_ratio=0)
    anchors = dict(type='AnchorGenerator', scales=[4], ratios=[1.0, 2.0], strides=[4, 8, 16, 32, 64])
    coder = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
    heads = dict(num_classes=num_classes, in_channels=8, conv_out_channels=8)
    assigner = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.3)
    sampler = dict(type='RandomSampler', num=16, pos_fraction=0.5, add_gt_as_proposals=False)
    proposals = dict(nms_pre=40, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
    roi_head = dict(
        type='HybridTaskCascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 0.5],
        bbox_roi_extractor=dict(regions, roi_layer=dict(layer, output_size=7)),
        bbox_head=dict(
            heads,
            type='Shared4Conv1FCBBoxHead',
            fc_out_channels=16,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            bbox_coder=coder,
            reg_class_agnostic=True,
            reg_decoded_bbox=True,
            loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
        ),
        mask_roi_extractor=dict(regions, roi_layer=dict(layer, output_size=14)),
        mask_head=[dict(heads, type='HTCMaskHead', num_convs=1, with_conv_res=relay) for relay in (False, True)],
    )
    if semantic:
        roi_head['semantic_roi_extractor'] = dict(regions, featmap_strides=[8], roi_layer=dict(layer, output_size=14))
        roi_head['semantic_head'] = dict(
            type='FusedSemanticHead',
            num_ins=5,
            fusion_level=1,
            seg_scale_factor=1 / 8,
            num_convs=1,
            in_channels=8,
            conv_out_channels=8,
            num_classes=183,
            loss_seg=dict(type='CrossEntropyLoss', ignore_index=255, loss_weight=0.2),
        )
    return dict(
        type='HybridTaskCascade',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[120.0] * 3,
            std=[60.0] * 3,
            pad_size_divisor=32,
            pad_mask=True,
            pad_seg=semantic,
        ),
        backbone=backbone(**changes),
        neck=[
            dict(type='mmswin.GlobalBlock', channels=64, num_heads=4, drop_path_rate=0.1),
            dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=8, num_outs=5),
        ],
        rpn_head=dict(type='RPNHead', in_channels=8, feat_channels=8, anchor_generator=anchors),
        roi_head=roi_head,
        train_cfg=dict(
            rpn=dict(assigner=assigner, sampler=sampler, allowed_border=0, pos_weight=-1, debug=False),
            rpn_proposal=proposals,
            rcnn=[dict(assigner=assigner, sampler=dict(sampler, add_gt_as_proposals=True), mask_size=28, pos_weight=-1)]
            * 2,
        ),
        test_cfg=dict(
            rpn=proposals,
            rcnn=dict(
                score_thr=0.001, nms=dict(type='soft_nms', iou_threshold=0.5), max_per_img=5, mask_thr_binary=0.5
            ),
        ),
    )


def upernet(num_classes: int = 3, **changes: Any) -> dict[str, Any]:
    """The config of mmseg's UPerNet on the tiny backbone; changes are the backbone's."""
    return dict(
        type='EncoderDecoder',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3, size=(64, 64), seg_pad_val=255
        ),
        backbone=backbone(**changes),
        decode_head=dict(
            type='UPerHead',
            in_channels=[8, 16, 32, 64],
            in_index=[0, 1, 2, 3],
            channels=8,
            pool_scales=(1, 2),
            num_classes=num_classes,
            norm_cfg=dict(type='SyncBN', requires_grad=True),
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'),
    )
