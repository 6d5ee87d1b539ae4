"""Tiny configurations with seeded weights for a predictor: import them with `from predictors import ...`."""

from pathlib import Path

import models
import torch
from mmengine.config import Config

from mmswin.engine.preflight import build_model

CLASSES = ('square', 'bar')


def detection(model: dict | None = None, mask: bool = False) -> dict:
    """A configuration of mmdet around a model, RetinaNet by default."""
    load, resize = dict(type='LoadImageFromFile'), dict(type='Resize', scale=(96, 64), keep_ratio=True)
    meta = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    truth = dict(type='LoadAnnotations', with_bbox=True, with_mask=mask)
    pipeline = [load, resize, truth, dict(type='PackDetInputs', meta_keys=meta)]
    dataset = dict(type='CocoDataset', ann_file='none.json', metainfo=dict(classes=CLASSES), pipeline=pipeline)
    loader = dict(batch_size=1, dataset=dataset)
    return dict(
        default_scope='mmdet',
        model=model or models.retinanet(),
        test_dataloader=loader,
        train_dataloader=loader,
        visualizer=dict(type='DetLocalVisualizer', name='visualizer'),
    )


def mask_rcnn(**backbone) -> dict:
    """The same around Mask R-CNN; arguments are the backbone's."""
    anchors = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0], strides=[4, 8, 16, 32])
    coder = dict(type='DeltaXYWHBBoxCoder')

    def extractor(size: int) -> dict:
        layer = dict(type='RoIAlign', output_size=size, sampling_ratio=0)
        return dict(type='SingleRoIExtractor', roi_layer=layer, out_channels=16, featmap_strides=[4, 8, 16, 32])

    retinanet = models.retinanet()
    model = dict(
        type='MaskRCNN', train_cfg=None,
        data_preprocessor=retinanet['data_preprocessor'],
        backbone=models.backbone(**backbone),
        neck=dict(type='FPN', in_channels=[8, 16, 32, 64], out_channels=16, num_outs=4),
        rpn_head=dict(
            type='RPNHead', in_channels=16, feat_channels=16, anchor_generator=anchors, bbox_coder=dict(coder)
        ),
        roi_head=dict(
            type='StandardRoIHead',
            bbox_roi_extractor=extractor(3),
            bbox_head=dict(
                type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=3, num_classes=2,
                bbox_coder=dict(coder),
            ),
            mask_roi_extractor=extractor(7),
            mask_head=dict(type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=2),
        ),
        test_cfg=dict(
            rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
            rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=5, mask_thr_binary=0.5),
        ),
    )  # fmt: skip
    return detection(model, mask=True)


def segmentation(**model) -> dict:
    """A configuration of mmseg with UPerNet; arguments change the model."""
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    meta = dict(classes=('ground', *CLASSES), palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]])
    dataset = dict(type='BaseSegDataset', metainfo=meta, pipeline=pipeline, data_root='none')
    loader = dict(batch_size=1, dataset=dataset)
    return dict(
        default_scope='mmseg',
        model={**models.upernet(), **model},
        test_dataloader=loader,
        visualizer=dict(type='SegLocalVisualizer', name='visualizer'),
    )


def write(folder: Path, config: dict, **meta) -> tuple[str, str]:
    """A configuration's file, and a checkpoint with seeded weights on which the picture makes a difference."""
    path = folder / 'config.py'
    Config(config).dump(path)
    torch.manual_seed(0)
    model = build_model(Config.fromfile(path))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder / 'weights.pth')
    return str(path), str(folder / 'weights.pth')
