"""Models: the authors' backbone by its variant, weights, and entries that have another name now."""

from typing import Any

import pytest

from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.model import scope_of, upgrade_model

SMALL = dict(embed_dim=96, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24])


def upgraded(backbone: dict[str, Any], chosen: str | None = None, **model: Any) -> dict[str, Any]:
    old = {'model': {'type': 'RetinaNet', 'backbone': {'type': 'SwinTransformer', **backbone}, **model}}
    return upgrade_model(Section(old, '', Report()), {'type': 'DetDataPreprocessor'}, chosen)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(SMALL, drop_path_rate=0.3, window_size=7), dict(arch='small', drop_path_rate=0.3)),
        (dict(SMALL, embed_dim=32, ape=True), dict(embed_dims=32, depths=[2, 2, 18, 2], num_heads=[3, 6, 12, 24],
                                                   use_abs_pos_embed=True, drop_path_rate=0.2)),
        (dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), convert_weights=True), dict(arch='tiny')),
    ],
)  # fmt: skip
def test_the_backbone(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert upgraded(old)['backbone'] == {'type': 'mmswin.SwinTransformer', **new}


@pytest.mark.parametrize(('given', 'expected'), [(None, 'old.pth'), ('new.pth', 'new.pth')])
def test_weights(given: str | None, expected: str) -> None:
    new = upgraded(SMALL, given, pretrained='old.pth')
    assert new['backbone']['init_cfg'] == {'type': 'Pretrained', 'checkpoint': expected}


def test_names_of_older_releases() -> None:
    proposals = dict(nms_across_levels=False, nms_post=1000, nms_thr=0.7, max_num=100)
    new = upgraded(SMALL, test_cfg=dict(rpn=proposals), head=dict(roi_layer=dict(type='RoIAlign', out_size=7)))
    assert new['test_cfg']['rpn'] == dict(nms=dict(type='nms', iou_threshold=0.7), max_per_img=100)
    assert new['head']['roi_layer'] == dict(type='RoIAlign', output_size=7)


def test_the_library() -> None:
    assert scope_of({'type': 'EncoderDecoder'}) == scope_of({'type': 'Mine', 'decode_head': {}}) == 'mmseg'
    assert scope_of({'type': 'MaskRCNN'}) == 'mmdet'
