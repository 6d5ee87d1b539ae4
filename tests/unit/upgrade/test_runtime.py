"""Hooks, logging, environment and weights under their new names."""

from typing import Any

import pytest

from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.runtime import upgrade_runtime


def upgraded(
    unit: str = 'epochs', evaluation: dict[str, Any] | None = None, metric: str = 'CocoMetric', **old: Any
) -> tuple[dict[str, Any], Report]:
    report = Report()
    before = Section(old, '', report), 'mmdet', unit, Section(evaluation, 'evaluation', report)
    return upgrade_runtime(*before, dict(type=metric)), report


def test_logging() -> None:
    hooks = [
        dict(type='TextLoggerHook', by_epoch=False, ignore_last=False),
        dict(type='TensorboardLoggerHook', log_dir='curves', interval=4),
        dict(type='PaviLoggerHook'),
    ]
    new, report = upgraded('iters', log_config=dict(interval=10, hooks=hooks))
    assert new['default_hooks']['logger'] == dict(type='LoggerHook', interval=10, log_metric_by_epoch=False)
    assert new['vis_backends'] == [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend', save_dir='curves')]
    assert new['visualizer']['vis_backends'] == new['vis_backends'] and new['log_processor'] == dict(by_epoch=False)
    assert [entry.key for entry in report.untranslated] == [
        f'log_config.hooks.{place}' for place in ('0.ignore_last', '1.interval', '2')
    ]


def test_checkpoints() -> None:
    new, report = upgraded(
        evaluation=dict(save_best='bbox_mAP', rule='greater'),
        checkpoint_config=dict(interval=2, max_keep_ckpts=3, create_symlink=False),
    )
    assert new['default_hooks']['checkpoint'] == dict(
        type='CheckpointHook', interval=2, max_keep_ckpts=3, save_best='coco/bbox_mAP', rule='greater'
    )
    assert not report.untranslated


@pytest.mark.parametrize(
    ('metric', 'old', 'new'),
    [
        ('CocoMetric', 'AR@100', 'coco/AR@100'),
        ('LVISMetric', 'bbox_AP', 'lvis/bbox_AP'),
        ('VOCMetric', 'mAP', 'pascal_voc/mAP'),
        ('mmseg.IoUMetric', 'mIoU', 'mIoU'),
        ('CocoMetric', 'auto', 'auto'),
    ],
)
def test_the_best_checkpoint_is_judged_by_a_figure_of_the_metric(metric: str, old: str, new: str) -> None:
    settings, _ = upgraded(evaluation=dict(save_best=old), metric=metric)
    assert settings['default_hooks']['checkpoint']['save_best'] == new


def test_environment_and_start() -> None:
    new, report = upgraded(
        dist_params=dict(backend='gloo', port=1), cudnn_benchmark=True, opencv_num_threads=2, resume_from='epoch_3.pth',
        workflow=[('train', 1)], gpu_ids=[0],
    )  # fmt: skip
    assert new['env_cfg'] == dict(
        cudnn_benchmark=True,
        mp_cfg=dict(mp_start_method='fork', opencv_num_threads=2),
        dist_cfg=dict(backend='gloo', port=1),
    )
    assert (new['load_from'], new['resume']) == ('epoch_3.pth', False)
    assert [entry.key for entry in report.untranslated] == ['resume_from']
