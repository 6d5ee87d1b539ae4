"""From config file and command line to the Runner's config: work dir, randomness, hooks, loops, processes."""

import logging

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmswin.engine import configure
from mmswin.errors import RunError


def test_work_dir_is_the_option_else_the_configs_else_the_name(tmp_path):
    path = tmp_path / 'my_config.py'
    path.write_text('work_dir = "mine"\nlr = 1')
    assert configure.load_config(str(path), None, 'given').work_dir == 'given'
    assert configure.load_config(str(path), None, None).work_dir == 'mine'
    path.write_text('lr = 1')
    assert configure.load_config(str(path), None, None).work_dir == 'work_dirs/my_config'


def test_loaders_without_workers_keep_none_alive(tmp_path):
    path = tmp_path / 'my_config.py'
    path.write_text(
        'train_dataloader = dict(num_workers=2, persistent_workers=True, prefetch_factor=4)\n'
        'val_dataloader = dict(num_workers=2, persistent_workers=True)\n'
    )
    cfg = configure.load_config(str(path), {'train_dataloader.num_workers': 0}, None)
    assert cfg.train_dataloader == dict(num_workers=0)
    assert cfg.val_dataloader == dict(num_workers=2, persistent_workers=True)


def test_randomness_of_the_config_is_kept_unless_given(monkeypatch):
    monkeypatch.delenv('CUBLAS_WORKSPACE_CONFIG', raising=False)
    cfg = Config({'randomness': {'seed': 5, 'diff_rank_seed': True}})
    configure.set_randomness(cfg, None, False)
    assert cfg.randomness == {'seed': 5, 'diff_rank_seed': True}
    assert 'CUBLAS_WORKSPACE_CONFIG' not in configure.os.environ
    configure.set_randomness(cfg, 0, True)
    assert cfg.randomness == {'seed': 0, 'diff_rank_seed': True, 'deterministic': True}
    assert configure.os.environ['CUBLAS_WORKSPACE_CONFIG'] == ':4096:8'
    cfg = Config({})
    configure.set_randomness(cfg, None, False)
    assert cfg.randomness == {'seed': None}


def test_scaling_needs_to_know_the_recipes_batch():
    cfg = Config({'auto_scale_lr': {'enable': False, 'base_batch_size': 16}})
    configure.enable_lr_scaling(cfg)
    assert cfg.auto_scale_lr.enable is True
    with pytest.raises(RunError, match='base_batch_size'):
        configure.enable_lr_scaling(Config({}))


def test_hooks_are_added_once():
    cfg = Config({'custom_hooks': [{'type': 'mmswin.RunBannerHook'}, {'type': 'EMAHook'}]})
    configure.add_hooks(cfg, 'mmswin.RunBannerHook', 'mmswin.NonFiniteLossHook')
    assert [hook.type for hook in cfg.custom_hooks] == ['mmswin.RunBannerHook', 'EMAHook', 'mmswin.NonFiniteLossHook']


@pytest.mark.parametrize('given', ["{'type': 'EMAHook'}", ["{'type':'EMAHook'}"], {'type': 'EMAHook'}, [3]])
def test_custom_hooks_that_are_none(given):
    with pytest.raises(RunError, match='custom_hooks holds .* and must be a list of dicts'):
        configure.add_hooks(Config({'custom_hooks': given}), 'mmswin.RunBannerHook')


@pytest.mark.parametrize(
    ('train_cfg', 'expected'),
    [
        ({'type': 'EpochBasedTrainLoop', 'max_epochs': 3}, {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 3}),
        ({'by_epoch': True, 'max_epochs': 3}, {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 3}),
        ({'by_epoch': False, 'max_iters': 3}, {'type': 'mmswin.IterBasedTrainLoop', 'max_iters': 3}),
        ({'type': 'mmdet.TeacherLoop', 'max_epochs': 3}, {'type': 'mmdet.TeacherLoop', 'max_epochs': 3}),
    ],
)
def test_mmengines_loops_are_replaced_and_others_kept(train_cfg, expected):
    cfg = Config({'train_cfg': train_cfg})
    configure.use_resumable_loop(cfg)
    assert cfg.train_cfg == expected


def test_sync_norm_is_replaced_everywhere():
    cfg = Config(
        {
            'model': {
                'neck': {'norm_cfg': {'type': 'SyncBN'}},
                'heads': [{'norm_cfg': {'type': 'MMSyncBN'}}],
                'backbone': {'norm_cfg': {'type': 'LN'}},
            }
        }
    )
    assert configure.replace_sync_norm(cfg) == 2
    assert cfg.model.neck.norm_cfg.type == cfg.model.heads[0].norm_cfg.type == 'BN'
    assert cfg.model.backbone.norm_cfg.type == 'LN'


def test_one_process_or_gpus_change_nothing(monkeypatch):
    for launcher, gpu in (('none', False), ('pytorch', True), ('slurm', True)):
        monkeypatch.setattr(configure, 'has_accelerator', lambda gpu=gpu: gpu)
        cfg = Config({'model': {'norm_cfg': {'type': 'SyncBN'}}})
        assert configure.set_up_processes(cfg, launcher) == []
        assert cfg.launcher == launcher
        assert cfg.model.norm_cfg.type == 'SyncBN'


@pytest.mark.parametrize(
    ('hooks', 'expected'),
    [
        (None, {'type': 'mmswin.CheckpointHook', 'interval': 1}),
        ({'logger': None}, {'type': 'mmswin.CheckpointHook', 'interval': 1}),
        ({'checkpoint': {'type': 'CheckpointHook', 'interval': 7}}, {'type': 'mmswin.CheckpointHook', 'interval': 7}),
        ({'checkpoint': {'type': 'TheirHook'}}, {'type': 'TheirHook'}),
        ({'checkpoint': None}, None),
    ],
)
def test_mmengines_checkpoint_hook_is_replaced_and_no_other(hooks, expected):
    cfg = Config({} if hooks is None else {'default_hooks': hooks})
    configure.use_complete_checkpoints(cfg)
    assert cfg.default_hooks.checkpoint == expected
    if hooks and 'logger' in hooks:
        assert cfg.default_hooks.logger is None


def test_a_module_that_cannot_be_imported_is_named(tmp_path):
    path = tmp_path / 'my_config.py'
    path.write_text("custom_imports = dict(imports=['surely_missing'])")
    with pytest.raises(RunError, match='my_config.py cannot be read: ImportError: .*surely_missing'):
        configure.load_config(str(path), None, None)


def test_processes_of_torchrun_that_nobody_joins(monkeypatch):
    """Each would train alone, on the same GPU, into the same work dir."""
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(RunError, match='torchrun started 2 processes.*--launcher pytorch'):
        configure.set_up_processes(Config({}), 'none')
    monkeypatch.setenv('WORLD_SIZE', '1')
    assert configure.set_up_processes(Config({}), 'none') == []


@pytest.mark.parametrize(
    ('name', 'text', 'said'),
    [
        ('a.py', "_base_ = 'b.py'\nhead = dict(box=dict(num=3))", 'TypeError.*box'),
        ('a.json', '{"a": }', 'JSONDecodeError'),
        ('a.yaml', 'a: [1', 'a.yaml cannot be read'),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, name, text, said):
    (tmp_path / 'b.py').write_text('head = dict(box=[dict(num=1), dict(num=2)])')
    (tmp_path / name).write_text(text)
    with pytest.raises(RunError, match=said):
        configure.load_config(str(tmp_path / name), None, None)


def test_quiet_is_heard_by_loggers_that_have_spoken():
    heard, logger, handler = [], MMLogger.get_current_instance(), logging.Handler()
    handler.emit = heard.append
    logger.addHandler(handler)
    try:
        logger.info('before')
        with configure.quiet():
            logger.info('within')
            logger.error('error')
        logger.info('after')
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in heard] == ['before', 'error', 'after']
