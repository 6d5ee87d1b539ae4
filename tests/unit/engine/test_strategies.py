"""The strategy of a config: what it may say, what it rules out, and what becomes of the optimizer."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmswin.engine import strategies
from mmswin.engine.options import merge_options
from mmswin.errors import RunError


@pytest.fixture
def cfg():
    return Config(
        {
            'model': {'type': 'Some'},
            'launcher': 'pytorch',
            'train_dataloader': {'batch_size': 2},
            'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 0.1}},
        }
    )


class SwinBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize(
    ('given', 'kind', 'wrap'),
    [
        (None, 'ddp', ('SwinBlock',)),
        ('zero', 'zero', ('SwinBlock',)),
        ({'type': 'fsdp'}, 'fsdp', ('SwinBlock',)),
        ({'type': 'fsdp', 'wrap': ['Block', 'Layer']}, 'fsdp', ('Block', 'Layer')),
        ({'wrap': 'A'}, 'ddp', ('A',)),
    ],
)
def test_is_read(cfg, given, kind, wrap):
    cfg.strategy = given
    assert strategies.strategy_of(cfg) == strategies.Strategy(kind, wrap)


def test_command_line_sets_it(cfg):
    merge_options(cfg, {'strategy.type': 'fsdp', 'strategy.wrap': ['Block']})
    assert strategies.strategy_of(cfg) == strategies.Strategy('fsdp', ('Block',))
    with pytest.raises(RunError, match=r'strategy\.wrap'):
        merge_options(cfg, {'strategy.wraps': 'Block'})


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'strategy': 'FSDPStrategy'}, "'FSDPStrategy'; known are ddp, zero, fsdp"),
        ({'strategy': {'type': 'fsdp', 'policy': 1}}, "no entry 'policy'; it has: type, wrap"),
        ({'strategy': {'type': 'fsdp', 'wrap': []}}, 'names of classes'),
        ({'model_wrapper_cfg': {'type': 'MMFullyShardedDataParallel'}}, 'set strategy.type=fsdp'),
        ({'strategy': 'fsdp', 'model_wrapper_cfg': {'type': 'Other'}}, 'exclude each other'),
        ({'strategy': 'zero', 'runner_type': 'FlexibleRunner'}, 'leave runner_type out'),
        ({'strategy': 'zero', 'optim_wrapper': {'a': {'optimizer': {'type': 'AdamW'}}}}, 'has none or several'),
        ({'strategy': 'zero', 'optim_wrapper': {'optimizer': {'type': 'Sophia'}}}, "is 'Sophia'"),
        ({'strategy': 'zero', 'optim_wrapper': {'optimizer': {'type': 'mmswin.Muon'}}}, "is 'mmswin.Muon'"),
        ({'strategy': 'fsdp', 'custom_hooks': [{'type': 'EMAHook'}]}, 'Use strategy.type=zero'),
        ({'strategy': 'fsdp', 'val_dataloader': {'sampler': {'round_up': False}}}, 'val_dataloader.sampler.round_up'),
        (
            {'strategy': 'fsdp', 'optim_wrapper': {'optimizer': {'type': strategies.ZERO, 'optimizer_type': 'SGD'}}},
            'optimizer.type=SGD instead',
        ),
    ],
)
def test_what_cannot_work_is_one_line(cfg, change, words):
    for name, value in change.items():
        cfg[name] = value
    with pytest.raises(RunError) as caught:
        strategies.check(cfg)
    assert words in str(caught.value)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('kind', strategies.KINDS)
def test_what_works_passes(cfg, kind):
    cfg.strategy = kind
    strategies.check(cfg)
    strategies.check_model(cfg, nn.Sequential(SwinBlock()))


def test_fsdp_needs_the_torch_that_has_it(cfg, monkeypatch):
    import torch.distributed.fsdp

    cfg.strategy = 'fsdp'
    monkeypatch.delattr(torch.distributed.fsdp, 'fully_shard')
    with pytest.raises(RunError, match='torch 2.6 or newer'):
        strategies.check(cfg)


def test_model_must_have_what_is_wrapped_and_no_single_numbers(cfg):
    cfg.strategy = {'type': 'fsdp', 'wrap': ['TransformerBlock']}
    with pytest.raises(RunError, match='no such module; set strategy.wrap to what it repeats, of: SwinBlock'):
        strategies.check_model(cfg, nn.Sequential(SwinBlock()))
    cfg.strategy = 'fsdp'
    model = nn.Sequential(SwinBlock())
    model.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(RunError, match=r'single number.* 1 \(such as scale\)'):
        strategies.check_model(cfg, model)
    cfg.strategy = 'zero'
    strategies.check_model(cfg, model)


def test_zero_takes_the_place_of_the_optimizer(cfg):
    cfg.strategy = 'zero'
    notes = strategies.apply(cfg)
    assert cfg.optim_wrapper.optimizer == {'type': 'ZeroRedundancyOptimizer', 'optimizer_type': 'AdamW', 'lr': 0.1}
    assert strategies.apply(cfg) == notes  # nothing is wrapped twice
    assert cfg.optim_wrapper.optimizer.optimizer_type == 'AdamW'


@pytest.mark.parametrize('kind', ['zero', 'fsdp'])
def test_one_process_trains_as_ever(cfg, kind):
    cfg.strategy, cfg.launcher = kind, 'none'
    assert 'shares with nobody' in strategies.apply(cfg)[0]
    assert 'strategy' not in cfg
    assert cfg.optim_wrapper.optimizer == {'type': 'AdamW', 'lr': 0.1}


def test_one_process_needs_no_group_for_mmengines_own_zero(cfg):
    cfg.launcher = 'none'
    cfg.optim_wrapper.optimizer = {'type': strategies.ZERO, 'optimizer_type': 'SGD', 'lr': 0.1}
    assert strategies.apply(cfg)
    assert cfg.optim_wrapper.optimizer == {'type': 'SGD', 'lr': 0.1}


def test_without_a_strategy_nothing_changes(cfg):
    before = cfg.pretty_text
    for launcher in ('none', 'pytorch'):
        cfg.launcher = launcher
        assert strategies.apply(cfg) == []
    assert cfg.pretty_text == before


def test_several_optimizers_pass(cfg):
    cfg.optim_wrapper.optimizer = {'backbone': {'type': 'SGD', 'lr': 0.1}, 'head': {'type': 'AdamW', 'lr': 0.1}}
    assert strategies.apply(cfg) == []
