"""Transforms of mmdet 2.x and mmseg 0.x, one by one, and what the data preprocessor takes over."""

from typing import Any

import pytest

from mmswin.upgrade.findings import Report
from mmswin.upgrade.pipelines import PipelineUpgrade

LOAD = dict(type='LoadImageFromFile')
NORMALIZE = dict(type='Normalize', mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=False)
PACK = [dict(type='DefaultFormatBundle'), dict(type='Collect', keys=['img'])]


def upgrade(*steps: dict[str, Any], scope: str = 'mmdet') -> tuple[list[dict[str, Any]], PipelineUpgrade]:
    """The new steps between loading and packing of a training pipeline, and the upgrade that made them."""
    pipelines = PipelineUpgrade(scope, Report())
    first, *middle, last = pipelines.train([LOAD, *steps, NORMALIZE, *PACK], 'data.train.pipeline')
    assert first == dict(type='mmswin.LoadImageFromFile', max_bad_fraction=0.01)
    assert last == dict(type='PackDetInputs' if scope == 'mmdet' else 'PackSegInputs')
    return middle, pipelines


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        # keep_ratio was True by default and is False by default.
        (dict(type='Resize', img_scale=(1333, 800)), dict(type='Resize', scale=(1333, 800), keep_ratio=True)),
        (
            dict(type='Resize', img_scale=[(640, 640)], keep_ratio=False),
            dict(type='Resize', scale=(640, 640), keep_ratio=False),
        ),
        (
            dict(type='Resize', img_scale=[(480, 1333), (512, 1333)], multiscale_mode='value', override=True),
            dict(type='RandomChoiceResize', scales=[(480, 1333), (512, 1333)], keep_ratio=True),
        ),
        # A range: the long side and the short side were drawn apart, in whatever order they stood.
        (
            dict(type='Resize', img_scale=[(480, 1333), (1600, 960)]),
            dict(type='RandomResize', scale=[(1333, 480), (1600, 960)], keep_ratio=True),
        ),
        (
            dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
            dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
        ),
        (dict(type='RandomFlip', flip_ratio=0.5), dict(type='RandomFlip', prob=0.5)),
        (
            dict(type='RandomFlip', flip_ratio=[0.3, 0.2], direction=['horizontal', 'vertical']),
            dict(type='RandomFlip', prob=[0.3, 0.2], direction=['horizontal', 'vertical']),
        ),
        # (height, width) became (width, height), but not for ranges, where it is (least, most).
        (dict(type='RandomCrop', crop_size=(300, 400)), dict(type='RandomCrop', crop_size=(400, 300))),
        (
            dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600)),
            dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600)),
        ),
        (dict(type='InstaBoost', aug_ratio=0.3), dict(type='mmswin.InstaBoost', aug_ratio=0.3)),
        (dict(type='Mosaic', img_scale=(480, 640), prob=1.0), dict(type='Mosaic', img_scale=(640, 480), prob=1.0)),
        (dict(type='RandomAffine', border=(-240, -320)), dict(type='RandomAffine', border=(-320, -240))),
        (dict(type='Pad', size=(480, 640)), dict(type='Pad', size=(640, 480))),
        (
            dict(type='PhotoMetricDistortion', brightness_delta=32),
            dict(type='PhotoMetricDistortion', brightness_delta=32),
        ),
        (
            dict(
                type='Albu',
                transforms=[],
                bbox_params=dict(type='BboxParams', label_fields=['gt_labels']),
                update_pad_shape=False,
            ),
            dict(
                type='Albu',
                transforms=[],
                bbox_params=dict(type='BboxParams', label_fields=['gt_bboxes_labels', 'gt_ignore_flags']),
            ),
        ),
        (
            dict(type='AutoAugment', policies=[[dict(type='RandomFlip', flip_ratio=1.0)], []]),
            dict(type='RandomChoice', transforms=[[dict(type='RandomFlip', prob=1.0)], []]),
        ),
    ],
)
def test_a_transform_of_mmdet(old: dict[str, Any], new: dict[str, Any]) -> None:
    steps, pipelines = upgrade(old)
    assert steps == [new]
    assert pipelines.report.untranslated == []


def test_label_maps_of_a_semantic_branch() -> None:
    steps, pipelines = upgrade(
        dict(type='LoadAnnotations', with_bbox=True, with_seg=True), dict(type='SegRescale', scale_factor=0.125)
    )
    assert [step['type'] for step in steps] == ['LoadAnnotations']
    assert pipelines.map_scale == 0.125 and pipelines.preprocessor()['pad_seg'] is True
    assert 'pad_mask' not in pipelines.preprocessor()
    _, pipelines = upgrade(dict(type='LoadPanopticAnnotations', with_mask=False))
    assert pipelines.preprocessor()['pad_seg'] is True and 'pad_mask' not in pipelines.preprocessor()


def test_the_library_that_resizes_is_kept() -> None:
    steps, _ = upgrade(dict(type='Resize', img_scale=(1333, 800), backend='pillow'))
    assert steps[0]['backend'] == 'pillow'


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(type='LoadAnnotations', reduce_zero_label=True), dict(type='LoadAnnotations')),
        (
            dict(type='RandomCrop', crop_size=(300, 400), cat_max_ratio=0.75),
            dict(type='RandomCrop', crop_size=(300, 400), cat_max_ratio=0.75),
        ),
        (dict(type='RandomFlip', prob=0.5), dict(type='RandomFlip', prob=0.5)),
        (
            dict(type='Resize', img_scale=(2048, 512), ratio_range=(0.5, 2.0)),
            dict(type='RandomResize', scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
        ),
    ],
)
def test_a_transform_of_mmseg(old: dict[str, Any], new: dict[str, Any]) -> None:
    steps, pipelines = upgrade(old, scope='mmseg')
    assert steps == [new]
    assert pipelines.report.untranslated == []


def test_a_part_of_a_wrapper_packs_nothing_and_may_be_empty() -> None:
    pipelines = PipelineUpgrade('mmdet', Report())
    assert pipelines.train([], 'data.train.pipeline') == []
    pipelines.train([LOAD, dict(type='LoadAnnotations')], 'data.train.dataset.pipeline')
    assert not any('Collect' in line for line in pipelines.report.translated)


def test_the_preprocessor_of_detection() -> None:
    _, pipelines = upgrade(dict(type='LoadAnnotations', with_mask=True), dict(type='Pad', size_divisor=32))
    assert pipelines.preprocessor() == dict(
        type='DetDataPreprocessor',
        mean=[1.0, 2.0, 3.0],
        std=[4.0, 5.0, 6.0],
        bgr_to_rgb=False,
        pad_size_divisor=32,
        pad_mask=True,
    )


def test_the_preprocessor_of_segmentation() -> None:
    steps, pipelines = upgrade(dict(type='Pad', size=(300, 400), pad_val=0, seg_pad_val=254), scope='mmseg')
    assert steps == []
    pipelines.test(
        [
            LOAD,
            dict(
                type='MultiScaleFlipAug',
                img_scale=(400, 300),
                flip=False,
                transforms=[dict(type='Resize', keep_ratio=True), NORMALIZE, dict(type='Pad', size_divisor=32), *PACK],
            ),
        ],
        'data.val',
    )
    assert pipelines.preprocessor() == dict(
        type='SegDataPreProcessor',
        mean=[1.0, 2.0, 3.0],
        std=[4.0, 5.0, 6.0],
        bgr_to_rgb=False,
        size=(300, 400),
        pad_val=0,
        seg_pad_val=254,
        test_cfg=dict(size_divisor=32),
    )


def test_pipelines_that_normalise_differently_are_named() -> None:
    _, pipelines = upgrade()
    pipelines.test([LOAD, dict(NORMALIZE, mean=[0.0, 0.0, 0.0]), *PACK], 'data.val.pipeline')
    (entry,) = pipelines.report.untranslated
    assert entry.key == 'data.val.pipeline.1' and '[1.0, 2.0, 3.0]' in entry.why


def test_a_transform_of_pixels_behind_normalize_is_named() -> None:
    pipelines = PipelineUpgrade('mmdet', Report())
    pipelines.train([LOAD, NORMALIZE, dict(type='CutOut', n_holes=3), *PACK], 'data.train.pipeline')
    (entry,) = pipelines.report.untranslated
    assert entry.key == 'data.train.pipeline.2' and 'after Normalize' in entry.why
    pipelines = PipelineUpgrade('mmdet', Report())
    colours = dict(type='PhotoMetricDistortion')
    pipelines.train([LOAD, colours, NORMALIZE, dict(colours, hue_delta=5), colours, *PACK], 'p')
    assert [(entry.key, entry.value) for entry in pipelines.report.untranslated] == [
        ('p.3', dict(colours, hue_delta=5)), ('p.4', colours)
    ]  # fmt: skip


def views(scope: str = 'mmdet', **options: Any) -> tuple[list[dict[str, Any]], PipelineUpgrade]:
    """A test pipeline of old, translated."""
    pipelines = PipelineUpgrade(scope, Report())
    inner = [
        dict(type='Resize', keep_ratio=True),
        dict(type='RandomFlip'),
        NORMALIZE,
        dict(type='ImageToTensor', keys=['img']),
        dict(type='Collect', keys=['img']),
    ]
    steps = [LOAD, dict(type='MultiScaleFlipAug', transforms=inner, **options)]
    return pipelines.test(steps, 'data.val'), pipelines


def test_a_test_of_one_view() -> None:
    steps, pipelines = views(img_scale=(1333, 800), flip=False)
    assert [step['type'] for step in steps[1:]] == ['Resize', 'LoadAnnotations', 'PackDetInputs']
    assert steps[0] == dict(type='LoadImageFromFile')
    assert steps[1] == dict(type='Resize', scale=(1333, 800), keep_ratio=True)
    assert pipelines.tta_pipeline is None and pipelines.report.untranslated == []


@pytest.mark.parametrize(
    'options',
    [
        dict(img_scale=(400, 200), img_ratios=[0.5, 1.0, 1.5], flip=True),
        dict(img_scale=[(400, 200), (200, 100), (600, 300)], flip=True),
    ],
)
def test_a_test_of_several_views(options: dict[str, Any]) -> None:
    """One view without --tta, all of them with it."""
    steps, pipelines = views('mmseg', **options)
    assert steps[1] == dict(type='Resize', scale=(400, 200), keep_ratio=True)
    load, augment = pipelines.tta_pipeline
    resizes, flips, annotations, pack = augment['transforms']
    assert {resize['scale'] for resize in resizes} == {(200, 100), (400, 200), (600, 300)}
    assert [flip['prob'] for flip in flips] == [0.0, 1.0]
    assert (load['type'], annotations, pack) == (
        'LoadImageFromFile',
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')],
    )
    assert any('--tta' in remark for remark in pipelines.report.remarks)
