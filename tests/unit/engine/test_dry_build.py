"""What the Runner will build is built before anything is written: its failures are one line."""

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.visualization import Visualizer
from torch import nn

from mmswin.engine import dry_build
from mmswin.errors import RunError


def config(tmp_path, **more) -> Config:
    return Config({
        'default_scope': 'mmengine', 'work_dir': str(tmp_path / 'run'),
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}}, 'param_scheduler': [{'type': 'LinearLR'}],
        'default_hooks': {'logger': {'type': 'LoggerHook'}, 'checkpoint': None}, **more,
    })  # fmt: skip


def test_what_can_be_built_leaves_nothing(tmp_path):
    known = dict(Visualizer._instance_dict)
    cfg = config(tmp_path, visualizer={'type': 'Visualizer', 'vis_backends': [{'type': 'LocalVisBackend'}]})
    before = cfg.pretty_text
    dry_build.build_parts(cfg, nn.Linear(1, 1), ('train',))
    assert cfg.pretty_text == before
    assert list(tmp_path.iterdir()) == []
    assert Visualizer._instance_dict == known


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        ({'default_hooks': {'logger': {'type': 'LoggerHook', 'intervall': 1}}}, r'default_hooks\.logger.*intervall'),
        ({'custom_hooks': [{'type': 'NoHook'}]}, r'custom_hooks\.0.*NoHook'),
        ({'optim_wrapper': {'optimizer': {'type': 'SGD', 'rate': 1}}}, r'optim_wrapper.*rate'),
        ({'param_scheduler': [{'type': 'LinearLR', 'start': 1}]}, r'param_scheduler\.0.*start'),
        ({'visualizer': {'type': 'Visualizer', 'colour': 1}}, r'visualizer .*colour'),
        ({'val_evaluator': {'type': 'NoMetric'}}, r'val_evaluator.*NoMetric'),
    ],
)
def test_what_cannot_is_named_with_the_librarys_words(tmp_path, more, said):
    with pytest.raises(RunError, match=said):
        dry_build.build_parts(config(tmp_path, **more), nn.Linear(1, 1), ('train', 'val'))
    assert list(tmp_path.iterdir()) == []


def test_mmengines_own_sharing_of_the_optimizer_needs_no_processes_here(tmp_path):
    optimizer = {'type': 'ZeroRedundancyOptimizer', 'optimizer_type': 'SGD', 'lr': 0.1}
    cfg = config(tmp_path, optim_wrapper={'optimizer': optimizer})
    dry_build.build_parts(cfg, nn.Linear(1, 1), ('train',))
    assert cfg.optim_wrapper.optimizer == optimizer
    cfg.optim_wrapper.optimizer.rate = 1
    with pytest.raises(RunError, match='optim_wrapper.*rate'):
        dry_build.build_parts(cfg, nn.Linear(1, 1), ('train',))


def test_an_optimizer_that_is_not_that_of_the_checkpoint(tmp_path):
    cfg, model = config(tmp_path), nn.Linear(1, 1)
    known = {'optimizer': torch.optim.SGD(model.parameters(), lr=1).state_dict()}
    dry_build.build_parts(cfg, model, ('train',), resumed=known)
    for state in ({}, {'param_groups': 3}, {'param_groups': [{'params': [0]}]}, {'param_groups': [{}]}, None):
        with pytest.raises(RunError, match='2 in 1.*--load-from'):
            dry_build.build_parts(cfg, model, ('train',), resumed={'optimizer': state})


def test_an_optimizer_of_several_groups_goes_on_with_its_own_state(tmp_path):
    wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'paramwise_cfg': {'bias_lr_mult': 0.5}}
    cfg, model = config(tmp_path, optim_wrapper=wrapper), nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    state = build_optim_wrapper(model, cfg.optim_wrapper).state_dict()
    dry_build.build_parts(cfg, model, ('train',), resumed={'optimizer': state})
    with pytest.raises(RunError, match='4 in 4'):
        dry_build.build_parts(
            cfg, model, ('train',), resumed={'optimizer': {'param_groups': state['param_groups'][1:]}}
        )


def test_a_loggers_library_is_looked_for():
    def both():
        try:
            import json

            import surely_missing
        except ImportError:
            raise ImportError(json, surely_missing) from None

    def one():
        try:
            import json
        except ImportError:
            raise ImportError(json) from None

    assert [fault.split()[0] for fault in dry_build._import_faults(both)] == ['surely_missing']
    assert dry_build._import_faults(one) == ['']
    assert dry_build._import_faults(None) == []


@pytest.mark.parametrize('place', ['file', 'file/below'])
def test_a_work_dir_that_cannot_be_made(tmp_path, place):
    (tmp_path / 'file').touch()
    with pytest.raises(RunError, match='no directory'):
        dry_build.check_work_dir(tmp_path / place)
    dry_build.check_work_dir(tmp_path / 'new' / 'below')
