"""What the libraries of today lack is named: its place, its value, why, and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmswin.errors import RunError
from mmswin.upgrade import render, upgrade_config


@pytest.fixture
def upgrade(old_detector: Callable[..., Path]) -> Callable[..., tuple[dict[str, Any], dict[str, str], str]]:
    """Upgrade the old detector with some settings changed: new settings, messages by key, and the new file's text."""

    def call(**changes: Any) -> tuple[dict[str, Any], dict[str, str], str]:
        result = upgrade_config(old_detector(**changes))
        return result.settings, {entry.key: str(entry) for entry in result.report.untranslated}, render(result)

    return call


def test_an_older_config_in_one_file(upgrade: Callable) -> None:
    """Absolute position embedding, checkpointing, names of mmdet 2.0: all of it has a place."""
    settings, named, text = upgrade()
    assert named == {}
    assert settings['model']['backbone'] == dict(
        type='mmswin.SwinTransformer',
        embed_dims=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 2, 2],
        pretrain_img_size=64,
        use_abs_pos_embed=True,
        with_cp=True,
        drop_path_rate=0.2,
    )  # the default of the authors' class, not of ours
    assert settings['model']['test_cfg'] == dict(
        nms_pre=100, nms=dict(type='nms', iou_threshold=0.5), score_thr=0.05, max_per_img=10
    )
    assert settings['train_cfg']['max_epochs'] == 12
    assert 'NOT TRANSLATED' not in text and 'random weights' in text


def test_what_other_variants_of_reppoints_v2_ask_for_is_named(upgrade: Callable, old_settings: dict[str, Any]) -> None:
    """The structure of the released files, with options that they do not take."""
    model = old_settings['model']
    model.update(
        type='RepPointsV2Detector',
        neck=dict(type='BiFPN', in_channels=[32, 64, 128], out_channels=32, num_outs=5, add_extra_convs=True),
        bbox_head=dict(
            type='RepPointsV2Head',
            num_classes=2,
            in_channels=32,
            feat_channels=32,
            corner_dim=32,
            shared_stacked_convs=2,
            transform_method='moment',
            loss_cls=dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),
            loss_sem=dict(type='SEPFocalLoss', gamma=2.0, loss_weight=0.2),
        ),
        train_cfg=dict(
            init=dict(assigner=dict(type='PointAssignerV2', scale=4, pos_num=1), pos_weight=-1),
            heatmap=dict(assigner=dict(type='PointHMAssigner', gaussian_bump=True, gaussian_iou=0.5)),
            refine=dict(assigner=dict(type='ATSSAssigner', topk=9), pos_weight=-1),
            contour=dict(weight=1),
        ),
    )
    model['backbone']['out_indices'] = (1, 2, 3)
    settings, named, text = upgrade(model=model)
    assert set(named) == {
        'model.neck.add_extra_convs',
        'model.bbox_head.shared_stacked_convs',
        'model.bbox_head.transform_method',
        'model.train_cfg.heatmap.assigner.gaussian_iou',
        'model.train_cfg.contour',
    }
    assert '= 0.5: here it is always 0.7' in named['model.train_cfg.heatmap.assigner.gaussian_iou']
    assert settings['model']['bbox_head'] == dict(
        type='mmswin.RepPointsV2Head',
        num_classes=2,
        in_channels=32,
        feat_channels=32,
        corner_channels=32,
        loss_foreground=dict(type='mmswin.NormalizedFocalLoss', gamma=2.0, loss_weight=0.2),
    )
    assert settings['model']['neck'] == dict(type='mmswin.BiFPN', in_channels=[32, 64, 128], out_channels=32)
    assert text.count('NOT TRANSLATED') == 1


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        (
            dict(type='ExpMomentumEMAHook', momentum=0.0001, total_iter=1000, priority=49),
            dict(
                type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0001, gamma=1000, update_buffers=True, priority=49
            ),
        ),
        (dict(type='EMAHook', momentum=0.1, priority='LOW'), dict(type='EMAHook', momentum=0.1, priority='LOW')),
    ],
)
def test_a_moving_average(old: dict[str, Any], new: dict[str, Any], upgrade: Callable) -> None:
    """Its arguments are read by the average that the hook builds, and its priority by the Runner."""
    settings, named, _ = upgrade(custom_hooks=[old])
    assert named == {}
    assert settings['custom_hooks'][-1] == new


@pytest.mark.parametrize(
    ('changes', 'key', 'words'),
    [
        (dict(resume_from='work/latest.pth'), 'resume_from', 'load_from names the file now'),
        (dict(workflow=[('train', 1), ('val', 1)]), 'workflow', 'train_cfg'),
        (dict(log_config=dict(interval=10, hooks=[dict(type='PaviLoggerHook')])), 'log_config.hooks.0', 'vis_backends'),
        (dict(custom_hooks=[dict(type='MyHook', momentum=0.1)]), 'custom_hooks.2.type', 'no class'),
        (dict(custom_hooks=[dict(type='EMAHook', warm_up=100)]), 'custom_hooks.2.warm_up', 'EMAHook'),
        (dict(custom_imports=dict(imports=['my.module'])), 'custom_imports', 'old libraries'),
        (dict(momentum_config=dict(policy='cyclic')), 'momentum_config', 'nothing known reads it'),
        (dict(seed=7), 'seed', '--seed 7'),
        (
            dict(optimizer=dict(type='AdamW', lr=1e-4, constructor='MyConstructor')),
            'optim_wrapper.constructor',
            'LayerDecayOptimWrapperConstructor',
        ),
        (dict(evaluation=dict(metric='bbox', jsonfile_prefix='x')), 'evaluation.jsonfile_prefix', 'CocoMetric'),
        (dict(checkpoint_config=dict(interval=1, colour=3)), 'default_hooks.checkpoint.colour', 'CheckpointHook'),
        (dict(optimizer=None), 'optimizer', 'optim_wrapper.optimizer'),
    ],
)
def test_what_has_no_counterpart(changes: dict[str, Any], key: str, words: str, upgrade: Callable) -> None:
    _, named, text = upgrade(**changes)
    assert list(named) == [key]
    assert words in named[key]
    assert named[key].split(':')[0].split(' = ')[0] in text


def test_what_the_old_libraries_would_not_take_is_one_line(upgrade: Callable) -> None:
    with pytest.raises(RunError, match=r'old\.py .*KeyError'):
        upgrade(log_config=dict(hooks=[dict(interval=1)]))


def test_a_value_that_does_not_build_is_named(upgrade: Callable, old_settings: dict[str, Any]) -> None:
    """Names may all be right and the whole wrong."""
    model = old_settings['model']
    model['neck'] = dict(type='FPN', in_channels=[16, 32, 64, 128], out_channels=16, num_outs=2)
    _, named, _ = upgrade(model=model)
    assert list(named) == ['model'] and 'does not build' in named['model']


def test_every_entry_of_the_old_data_is_used_or_named(upgrade: Callable, old_settings: dict[str, Any]) -> None:
    data = old_settings['data']
    data.update(shuffle_buffer=10, val_dataloader=dict(samples_per_gpu=4, colour=1))
    data['train'] = dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(data['train'], classes=('cat', 'dog'), filter_empty_gt=False, proposal_file='p.pkl', colour=1),
    )
    settings, named, _ = upgrade(data=data)
    assert set(named) == {
        'data.shuffle_buffer',
        'data.val_dataloader.colour',
        'data.train.dataset.proposal_file',
        'train_dataloader.dataset.dataset.colour',
    }
    repeated = settings['train_dataloader']['dataset']
    assert (repeated['type'], repeated['times']) == ('RepeatDataset', 3)
    assert repeated['dataset']['metainfo'] == dict(classes=('cat', 'dog'))
    assert repeated['dataset']['filter_cfg'] == dict(filter_empty_gt=False, min_size=32)
    assert settings['val_dataloader']['batch_size'] == 4


@pytest.mark.parametrize('data', [None, dict(samples_per_gpu=2, workers_per_gpu=3)])
def test_without_data_the_rest_is_translated(upgrade: Callable, old_settings: dict[str, Any], data: Any) -> None:
    old_settings.pop('data')
    settings, named, text = upgrade(**({} if data is None else {'data': data}))
    assert set(named) == {'data.train', 'data.val', 'data.test', 'model.data_preprocessor'}
    size = 'batch_size=2, num_workers=3' if data else 'batch_size=1, num_workers=2'
    assert f'add train_dataloader ({size})' in named['data.train']
    assert settings['optim_wrapper']['optimizer'] == dict(type='AdamW', lr=1e-4)
    assert settings['train_cfg']['max_epochs'] == 12
    assert settings.get('auto_scale_lr') == (dict(enable=False, base_batch_size=16) if data else None)
    assert 'data -> ' not in text and 'evaluation.metric' not in text


def test_without_training_data_the_pipeline_of_tests_is_kept(upgrade: Callable, old_settings: dict[str, Any]) -> None:
    data = old_settings['data']
    del data['train']
    _, named, text = upgrade(data=data)
    assert set(named) == {'data.train'}
    found: dict[str, Any] = {}
    exec(text, found)
    assert found['val_dataloader']['dataset']['pipeline'] == found['test_pipeline'] != []
