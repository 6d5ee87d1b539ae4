"""An authors' detector file in mmswin's detector gives the boxes that mmdet's gives with mmdet's own conversion of it.

Random weights throughout, of a small Cascade Mask R-CNN with the authors' heads. All proposals and boxes are kept:
scores of random weights lie so close that rounding would decide what NMS drops.
"""

import copy
import importlib.util
from pathlib import Path

import mmdet
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from models import TINY as SWIN

pytest.importorskip('mmcv.ops')
from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402

from mmswin.checkpoints.export import export  # noqa: E402

CONVERTER = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'model_converters' / 'swinv1_to_mmdet.py'


def _box_head(deviation):
    norm = dict(type='BN')
    return dict(
        type='ConvFCBBoxHead', num_shared_convs=4, num_shared_fcs=1, in_channels=16, conv_out_channels=16,
        fc_out_channels=32, roi_feat_size=7, num_classes=3, norm_cfg=norm, reg_class_agnostic=False,
        reg_decoded_bbox=True, loss_cls=dict(type='CrossEntropyLoss'), loss_bbox=dict(type='GIoULoss'),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=deviation))  # fmt: skip


def _config(backbone):
    extractor = dict(type='SingleRoIExtractor', out_channels=16, featmap_strides=[4, 8, 16, 32])
    deviations = [[0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]]
    return dict(
        type='CascadeRCNN', data_preprocessor=dict(type='DetDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3),
        backbone=backbone, neck=dict(type='FPN', in_channels=[12, 24, 48, 96], out_channels=16, num_outs=5),
        rpn_head=dict(
            type='RPNHead', in_channels=16, feat_channels=16,
            anchor_generator=dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0], strides=[4, 8, 16, 32, 64]),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'), loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True),
            loss_bbox=dict(type='L1Loss')),
        roi_head=dict(
            type='CascadeRoIHead', num_stages=3, stage_loss_weights=[1, 0.5, 0.25],
            bbox_roi_extractor={**extractor, 'roi_layer': dict(type='RoIAlign', output_size=7, sampling_ratio=0)},
            bbox_head=[_box_head(deviation) for deviation in deviations],
            mask_roi_extractor={**extractor, 'roi_layer': dict(type='RoIAlign', output_size=14, sampling_ratio=0)},
            mask_head=dict(
                type='FCNMaskHead', num_convs=2, in_channels=16, conv_out_channels=16, num_classes=3,
                loss_mask=dict(type='CrossEntropyLoss', use_mask=True))),
        test_cfg=dict(
            rpn=dict(nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=1.0), min_bbox_size=0),
            rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=1.0), max_per_img=5000,
                      mask_thr_binary=0.5)))  # fmt: skip


def _build(kind):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(_config(dict(type=kind, **SWIN)))).eval()


def _authors_file():
    """All tensors of a detector under the authors' names, with values far from the initial ones."""
    torch.manual_seed(0)
    weights = {}
    for name, value in _build('mmswin.SwinTransformer').state_dict().items():
        if not value.is_floating_point():
            weights[name] = value
        elif value.dim() > 1:
            scale = 0.5 if 'bias_table' in name else value[0].numel() ** -0.5
            weights[name] = torch.randn_like(value) * scale
        else:
            around = 1.0 if 'norm' in name and name.endswith('weight') or name.endswith('running_var') else 0.0
            weights[name] = around + torch.rand_like(value) * 0.2
    return weights


def _mmdets_own_converter():
    spec = importlib.util.spec_from_file_location('swinv1_to_mmdet', CONVERTER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.swin_converter


def _predict(model, image):
    sample = DetDataSample(metainfo=dict(
        img_shape=image.shape[-2:], ori_shape=image.shape[-2:], pad_shape=image.shape[-2:], scale_factor=(1.0, 1.0),
        batch_input_shape=image.shape[-2:]))  # fmt: skip
    model.roi_head.mask_head = None  # thousands of masks take minutes
    with torch.no_grad():
        return model.predict(image, [sample])[0].pred_instances


@pytest.fixture(scope='module')
def weights():
    return _authors_file()


@pytest.mark.parametrize('way', ['as it is', 'converted by mmdet', 'converted by mmswin'])
def test_the_same_boxes(way, weights):
    """mmdet's detector takes mmdet's conversion; ours takes the file itself, that conversion, and our own for mmdet."""
    ours, theirs = _build('mmswin.SwinTransformer'), _build('mmdet.SwinTransformer')
    by_mmdet = _mmdets_own_converter()(copy.deepcopy(weights))
    missing, unexpected = theirs.load_state_dict(by_mmdet, strict=False)
    assert not unexpected
    assert all(name.endswith('relative_position_index') for name in missing)
    if way == 'converted by mmswin':
        converted = export({'state_dict': weights}, 'mmdet').tensors
        for name, value in by_mmdet.items():
            assert torch.equal(converted[name], value), name
        theirs.load_state_dict(converted, strict=True)
    missing, unexpected = ours.load_state_dict(by_mmdet if way == 'converted by mmdet' else weights, strict=False)
    assert not missing
    assert [name for name in unexpected if 'relative_position_index' not in name] == []
    assert ours.backbone.load_report.loaded == ours.backbone.load_report.total
    torch.manual_seed(1)
    image = torch.randn(1, 3, 64, 64)
    expected, found = _predict(theirs, image), _predict(ours, image)
    assert len(expected) == len(found) > 1000
    assert expected.scores.max() - expected.scores.min() > 0.03
    a, b = (torch.cat([p.bboxes, p.scores[:, None], 100.0 * p.labels[:, None]], dim=1) for p in (expected, found))
    nearest = torch.cdist(a, b, p=float('inf')).min(dim=1)
    assert nearest.values.max() < 1e-3
