"""Whole models by the paper's protocol: heads against formulas, every parameter in one part, unknown kinds refused."""

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmswin.analysis.counting import META, count
from mmswin.analysis.protocol import Complexity, measure, measure_model
from mmswin.analysis.reports import complexity_text
from mmswin.engine.preflight import build_model
from mmswin.errors import RunError

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


@cache
def parsed(name: str) -> Config:
    return Config.fromfile(CONFIGS / f'{name}.py')


@cache
def measured(name: str, height: int, width: int) -> Complexity:
    return measure(parsed(name), (height, width))


def layers(found: Complexity) -> dict[str, int]:
    return {part.name: part.cost.layers for part in found.parts if part.cost}


def test_mask_rcnn_heads_take_1000_proposals_and_100_masks():
    found = layers(measured('mask_rcnn_swin_t_coco', 256, 320))
    assert found['roi_head.bbox_head'] == 1000 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * (81 + 320))
    assert found['roi_head.mask_head'] == 100 * (4 * 196 * 256 * 256 * 9 + 196 * 256 * 256 * 4 + 784 * 256 * 80)
    places = sum(-(-256 // s) * -(-320 // s) for s in (4, 8, 16, 32, 64))
    assert found['rpn_head'] == places * (256 * 256 * 9 + 256 * 3 + 256 * 12)


def test_a_larger_image_costs_backbone_and_neck_alone():
    small, large = (layers(measured('mask_rcnn_swin_t_coco', *size)) for size in ((256, 320), (256, 640)))
    assert {name: large[name] / small[name] for name in small} == pytest.approx(
        {'backbone': 2, 'neck': 2, 'rpn_head': 2, 'roi_head.bbox_head': 1, 'roi_head.mask_head': 1}, rel=0.02
    )


def test_sparse_rcnn_takes_its_own_proposals():
    found = measured('sparse_rcnn_swin_t_coco', 256, 320)
    box = next(part.cost for part in found.parts if part.name == 'roi_head.bbox_head')
    dynamic = 300 * 2 * 49 * 256 * 64
    attention = 2 * 300 * 300 * 256
    assert box.products == 6 * (dynamic + attention)


def test_reppointsv2_is_the_published_one_to_the_unit():
    found = measured('reppointsv2_swin_t_coco', 800, 1280)
    assert {part.name: part.params for part in found.parts} == {
        'backbone': 27_520_506, 'neck': 10_185_254, 'bbox_head': 7_210_442
    }  # fmt: skip
    costs = {part.name: part.cost.published / 1e9 for part in found.parts}
    assert costs == pytest.approx({'backbone': 95.73, 'neck': 32.85, 'bbox_head': 153.89}, abs=0.01)


def test_mask_reppointsv2_counts_boxes_and_controller_as_published():
    found = measured('mask_reppointsv2_swin_t_coco', 800, 1280)
    parts = {part.name: part for part in found.parts}
    assert {name: part.params for name, part in parts.items() if name.endswith('head')} == {
        'bbox_head': 7_646_087, 'mask_head': 1_477_384
    }  # fmt: skip
    assert found.params == 46_829_231
    assert parts['bbox_head'].cost.published / 1e9 == pytest.approx(163.18, abs=0.01)
    assert parts['mask_head'].cost is None and found.cost.published / 1e9 == pytest.approx(291.76, abs=0.02)
    with META:
        maps = [torch.empty(1, 256, 800 // stride, 1280 // stride) for stride in (8, 16, 32)]
        features = build_model(parsed('mask_reppointsv2_swin_t_coco')).mask_head.mask_feature_head.eval()
    assert count(features, maps)[1].published / 1e9 == pytest.approx(15.6, abs=0.1)


@pytest.mark.parametrize(
    ('name', 'params', 'cost', 'block'),
    [
        ('htc_plus_swin_b_coco', 159_535_213, 1043.23, 12_596_224),
        ('htc_plus_swin_l_coco', 283_769_417, 1470.42, 28_331_520),
    ],
)
def test_htc_plus_is_the_published_one(name, params, cost, block):
    found = measured(name, 800, 1280)
    parts = {part.name: part for part in found.parts}
    assert found.params == params and found.cost.published / 1e9 == pytest.approx(cost, abs=0.02)
    neck = parts['neck'].cost
    width = (block // 12) ** 0.5 // 32 * 32
    assert neck.products == 2 * 1000**2 * width  # the extra block: 25 x 40 places of the last map
    assert parts['neck'].params - block == {1024: 2_852_864, 1536: 3_098_624}[width]
    heads = {name: parts[f'roi_head.{name}'] for name in ('bbox_head', 'mask_head', 'semantic_head')}
    assert {name: part.params for name, part in heads.items()} == {
        'bbox_head': 45_883_647, 'mask_head': 8_061_424, 'semantic_head': 2_802_103
    }  # fmt: skip
    costs = {name: part.cost.published / 1e9 for name, part in heads.items()}
    assert costs == pytest.approx({'bbox_head': 385.77, 'mask_head': 161.81, 'semantic_head': 44.88}, abs=0.01)


def test_every_parameter_is_in_one_part():
    for name, size in (('mask_rcnn_swin_t_coco', (256, 320)), ('upernet_swin_t_ade20k', (128, 128))):
        with META:
            model = build_model(parsed(name))
        assert measured(name, *size).params == sum(p.numel() for p in model.parameters())


def test_the_auxiliary_head_counts_as_parameters_alone():
    found = measured('upernet_swin_t_ade20k', 128, 128)
    parts = {part.name: part for part in found.parts}
    assert parts['auxiliary_head'].cost is None
    assert parts['auxiliary_head'].params == 384 * 256 * 9 + 2 * 256 + 257 * 150
    assert found.cost == parts['backbone'].cost + parts['decode_head'].cost
    text = complexity_text(found).splitlines()
    assert any(line.split() == ['auxiliary_head', '0.924', '0.924', *'-----'] for line in text)
    assert any(line.startswith('-: runs in training alone') for line in text)


def test_frozen_parameters_are_not_trainable():
    cfg = copy.deepcopy(parsed('upernet_swin_t_ade20k'))
    cfg.model.backbone.frozen_stages = 0
    found = measure(cfg, (128, 128))
    assert found.params - found.trainable == 48 * 96 + 96 + 2 * 96


def test_the_backend_changes_nothing():
    cfg = copy.deepcopy(parsed('upernet_swin_t_ade20k'))
    cfg.model.backbone.attn_backend = 'sdpa'
    assert measure(cfg, (128, 128)).cost == measured('upernet_swin_t_ade20k', 128, 128).cost


def test_channels_of_the_image_are_the_backbone_s():
    cfg = copy.deepcopy(parsed('upernet_swin_t_ade20k'))
    cfg.model.backbone.in_channels = 4
    more = measure(cfg, (128, 128)).cost.layers - measured('upernet_swin_t_ade20k', 128, 128).cost.layers
    assert more == 32 * 32 * 16 * 96


@pytest.mark.parametrize(
    ('config', 'said'),
    [
        ('mmdet::scnet/scnet_r50_fpn_1x_coco.py', 'SCNet with a SCNetRoIHead'),
        ('mmdet::detr/detr_r50_8xb2-150e_coco.py', 'count a DETR'),
        ('mmdet::yolox/yolox_tiny_8xb8-300e_coco.py', 'count a YOLOX'),
    ],
)
def test_other_kinds_are_refused(config, said):
    from mmengine.hub import get_config

    with pytest.raises(RunError, match=said):
        measure(get_config(config), (256, 320))


def test_what_pretrains_is_not_counted():
    class SimMIM(type('BaseSelfSupervisor', (torch.nn.Module,), {})):
        pass

    with pytest.raises(RunError, match='SimMIM pretrains: count'):
        measure_model(SimMIM(), (64, 64))


def test_an_image_without_room_for_the_maps_is_refused():
    with pytest.raises(RunError, match='31 x 640 pixels: expected at least 32'):
        measure(parsed('upernet_swin_t_ade20k'), (31, 640))


def test_a_model_elsewhere_is_refused():
    model = torch.nn.Module()
    model.backbone = torch.nn.Conv2d(3, 4, 1)
    with pytest.raises(ValueError, match='meta device'):
        measure_model(model, (32, 32))


def test_a_backbone_that_asks_for_numbers_while_it_is_built():
    """mmdet's own Swin: the same layers, so the same count."""
    from mmengine.hub import get_config

    theirs = get_config('mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py')
    found, expected = (measure(cfg, (256, 320)) for cfg in (theirs, parsed('mask_rcnn_swin_t_coco')))
    theirs, ours = (next(part for part in one.parts if part.name == 'neck') for one in (found, expected))
    assert theirs.cost == ours.cost and theirs.params == ours.params
    assert found.cost.layers > expected.cost.layers  # theirs projects padded tokens too
