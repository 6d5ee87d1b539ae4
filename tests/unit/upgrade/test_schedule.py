"""Optimizer, precision, learning rate and length, in the words of mmcv 1 and of today."""

from typing import Any

import pytest

from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.schedule import upgrade_learning_rate, upgrade_length, upgrade_loop, upgrade_optimizer


def section(**values: Any) -> Section:
    return Section(values, '', Report())


SGD = dict(type='SGD', lr=0.02, momentum=0.9)


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (dict(), dict(type='OptimWrapper')),
        (dict(fp16=None, optimizer_config=dict(grad_clip=None)), dict(type='OptimWrapper')),
        (
            dict(optimizer_config=dict(grad_clip=dict(max_norm=35, norm_type=2))),
            dict(type='OptimWrapper', clip_grad=dict(max_norm=35, norm_type=2)),
        ),
        (dict(fp16=dict(loss_scale=512.0)), dict(type='AmpOptimWrapper', loss_scale=512.0)),
        (dict(fp16=dict(loss_scale='dynamic')), dict(type='AmpOptimWrapper')),
        (
            dict(optimizer_config=dict(type='Fp16OptimizerHook', loss_scale=256.0, distributed=False)),
            dict(type='AmpOptimWrapper', loss_scale=256.0),
        ),
        (
            dict(
                fp16=None,
                optimizer_config=dict(
                    type='DistOptimizerHook',
                    update_interval=4,
                    use_fp16=True,
                    coalesce=True,
                    bucket_size_mb=-1,
                    grad_clip=None,
                ),
            ),
            dict(type='AmpOptimWrapper', accumulative_counts=4),
        ),
        (dict(optimizer_config=dict(type='DistOptimizerHook', use_fp16=False)), dict(type='OptimWrapper')),
        (
            dict(optimizer_config=dict(type='GradientCumulativeOptimizerHook', cumulative_iters=2)),
            dict(type='OptimWrapper', accumulative_counts=2),
        ),
    ],
)
def test_optimizer(old: dict[str, Any], new: dict[str, Any]) -> None:
    values = section(optimizer=dict(SGD, paramwise_cfg=dict(norm_decay_mult=0.0)), **old)
    expected = dict(
        new, constructor='mmswin.OptimWrapperConstructor', optimizer=SGD, paramwise_cfg=dict(norm_decay_mult=0.0)
    )
    assert upgrade_optimizer(values) == expected
    assert values.report.untranslated == []


def test_an_unknown_optimizer_hook_is_named() -> None:
    values = section(optimizer=SGD, optimizer_config=dict(type='MyHook', lookahead=5))
    upgrade_optimizer(values)
    keys = [entry.key for entry in values.report.untranslated]
    assert keys == ['optimizer_config.type', 'optimizer_config.lookahead']


WARM_UP = dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500)


@pytest.mark.parametrize(
    ('old', 'unit', 'new'),
    [
        (
            dict(policy='step', step=[8, 11], warmup='linear', warmup_iters=500, warmup_ratio=0.001),
            'epochs',
            [WARM_UP, dict(type='MultiStepLR', by_epoch=True, milestones=[8, 11], gamma=0.1)],
        ),
        (
            dict(policy='poly', by_epoch=False, warmup='linear', warmup_iters=500, warmup_ratio=0.001),
            'epochs',
            [
                WARM_UP,
                dict(
                    type='PolyLR', power=1.0, eta_min=0.0, by_epoch=True, begin=0, end=1000, convert_to_iter_based=True
                ),
            ],
        ),
        (
            dict(policy='step', step=4, gamma=0.5),
            'epochs',
            [dict(type='StepLR', by_epoch=True, step_size=4, gamma=0.5)],
        ),
        (
            dict(policy='step', step=[600, 800]),
            'iters',
            [dict(type='MultiStepLR', by_epoch=False, milestones=[600, 800], gamma=0.1)],
        ),
        (
            dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False),
            'iters',
            [dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False, begin=0, end=1000)],
        ),
        (
            dict(policy='poly', by_epoch=False, warmup='linear', warmup_iters=500, warmup_ratio=0.001),
            'iters',
            [WARM_UP, dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=500, end=1000)],
        ),
        (
            dict(policy='CosineAnnealing', min_lr_ratio=0.05),
            'epochs',
            [dict(type='CosineAnnealingLR', T_max=1000, eta_min_ratio=0.05, by_epoch=True, begin=0, end=1000)],
        ),
        (
            dict(policy='fixed', warmup='constant', warmup_iters=10, warmup_ratio=0.1),
            'epochs',
            [dict(type='ConstantLR', factor=0.1, by_epoch=False, begin=0, end=10)],
        ),
        (dict(policy='exp', gamma=0.9), 'epochs', [dict(type='ExponentialLR', gamma=0.9, by_epoch=True)]),
        (dict(), 'epochs', []),
    ],
)
def test_learning_rate(old: dict[str, Any], unit: str, new: list[dict[str, Any]]) -> None:
    values = section(lr_config=old)
    assert upgrade_learning_rate(values, unit, 1000) == new
    assert values.report.untranslated == []


@pytest.mark.parametrize(
    ('old', 'key'),
    [
        (dict(policy='cyclic', target_ratio=(10, 1e-4)), 'lr_config'),
        (dict(policy='step', step=[8], min_lr=1e-6), 'lr_config.min_lr'),
        (dict(policy='fixed', warmup='exp', warmup_iters=10), 'lr_config.warmup'),
    ],
)
def test_what_has_no_scheduler_is_named(old: dict[str, Any], key: str) -> None:
    values = section(lr_config=old)
    upgrade_learning_rate(values, 'epochs', 12)
    assert [entry.key for entry in values.report.untranslated] == [key]


@pytest.mark.parametrize(
    ('old', 'length'),
    [
        (dict(runner=dict(type='EpochBasedRunnerAmp', max_epochs=36)), ('epochs', 36)),
        (dict(total_epochs=12), ('epochs', 12)),
        (dict(runner=dict(type='IterBasedRunner', max_iters=160000)), ('iters', 160000)),
        (dict(runner=dict(type='EpochBasedRunner', max_epochs=24), total_epochs=12), ('epochs', 24)),
    ],
)
def test_length(old: dict[str, Any], length: tuple[str, int]) -> None:
    values = section(**old)
    assert upgrade_length(values) == length
    assert values.report.untranslated == []


def test_validation_interval() -> None:
    values = section(interval=4000, start=8000, metric='mIoU')
    assert upgrade_loop('iters', 16000, values) == dict(
        type='IterBasedTrainLoop', max_iters=16000, val_interval=4000, val_begin=8000
    )
    assert values.get('metric') == 'mIoU'


def test_two_loss_scales_are_named() -> None:
    hook = dict(type='Fp16OptimizerHook', loss_scale='dynamic')
    values = section(optimizer=SGD, fp16=dict(loss_scale=512.0), optimizer_config=hook)
    assert upgrade_optimizer(values)['type'] == 'AmpOptimWrapper'
    assert [entry.key for entry in values.report.untranslated] == ['fp16']
