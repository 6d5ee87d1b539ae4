"""Mask RepPoints V2's mask head; whole files are in test_translate_released_files.py, other variants in test_check.py."""

import pytest

from mmswin.upgrade.findings import Report
from mmswin.upgrade.reppoints_v2 import upgrade_reppoints_v2

BRANCH = dict(in_channels=64, channels=32, in_features=[0, 1], out_stride=[8, 16], out_channels=8, norm=dict(type='BN'))
HEAD = dict(channels=4, num_layers=3, mask_out_stride=4, max_proposals=50, mask_loss_weight=[0.0, 0.5, 1.0])


HEATMAP = dict(
    assigner=dict(type='PointHMAssigner', gaussian_bump=True, gaussian_iou=0.7),
    allowed_border=-1,
    pos_weight=-1,
    debug=False,
)


def translated(heatmap: dict = HEATMAP, **head: object) -> tuple[dict, list[str]]:
    model = dict(
        type='RepPointsV2MaskDetector',
        neck=dict(type='BiFPN', in_channels=[1, 2, 3]),
        bbox_head=dict(
            type='RepPointsV2Head',
            num_classes=3,
            in_channels=64,
            mask_head=dict(type='CondConvMaskHead', branch_cfg=BRANCH, head_cfg={**HEAD, **head}),
        ),
        train_cfg=dict(
            heatmap=heatmap, refine=dict(assigner=dict(type='ATSSAssigner', topk=9, mask_center_sample=True))
        ),
    )
    report = Report()
    upgrade_reppoints_v2(model, report)
    return model, [entry.key for entry in report.untranslated]


@pytest.mark.usefixtures('mmdet_scope')
def test_the_mask_head_leaves_the_box_head() -> None:
    model, failed = translated()
    assert failed == [] and 'mask_head' not in model['bbox_head']
    assert model['mask_head'] == dict(
        type='mmswin.AuxiliaryMaskHead',
        mask_feature_head=dict(
            in_channels=64, feat_channels=32, start_level=0, end_level=1, out_channels=8, mask_stride=8,
            num_stacked_convs=4, norm_cfg=dict(type='BN'),
        ),
        feat_channels=4,
        max_masks_to_train=50,
        auxiliary_weight=0.5,
        loss_mask=dict(type='DiceLoss', use_sigmoid=True, activate=True, eps=5e-6),
    )  # fmt: skip
    assert model['train_cfg']['refine'] == dict(assigner=dict(type='mmswin.CentroidATSSAssigner', topk=9))


@pytest.mark.usefixtures('mmdet_scope')
def test_what_the_mask_head_cannot_do_is_named() -> None:
    _, failed = translated(mask_loss_weight=[0.2, 0.6, 1.0], disable_rel_coords=True, use_att_map=True)
    assert sorted(key.rpartition('.')[2] for key in failed) == ['disable_rel_coords', 'mask_loss_weight', 'use_att_map']


@pytest.mark.usefixtures('mmdet_scope')
def test_what_the_corners_do_not_read_is_named() -> None:
    _, failed = translated(dict(HEATMAP, bar=2, assigner=dict(HEATMAP['assigner'], gaussian_iou=0.6, foo=1)))
    heatmap = 'model.train_cfg.heatmap'
    assert failed == [f'{heatmap}.assigner.gaussian_iou', f'{heatmap}.assigner.foo', f'{heatmap}.bar']
