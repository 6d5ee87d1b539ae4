"""RunBannerHook: says what trains on what, and warns of a batch size that the learning rate is not for and of
pretrained weights that were not loaded.
"""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import ConstantLR, MultiStepLR
from torch import nn

from mmswin.engine import RunBannerHook


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.load_report = None


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.norm = nn.BatchNorm2d(2)


class Data(list):
    metainfo = {'classes': ('cat', 'dog', 'cow')}


@pytest.fixture
def runner():
    log, warnings = [], []
    cfg = Config(
        {
            'model': {'backbone': {'type': 'mmswin.SwinTransformer', 'arch': 'tiny'}, 'norm_cfg': {'type': 'SyncBN'}},
            'optim_wrapper': {'optimizer': {'lr': 1e-4}},
            'auto_scale_lr': {'enable': False, 'base_batch_size': 16},
        }
    )
    return SimpleNamespace(
        model=Detector(),
        cfg=cfg,
        iter=0,
        max_iters=120,
        max_epochs=3,
        work_dir='w',
        train_dataloader=SimpleNamespace(dataset=Data(range(80)), batch_size=2),
        train_loop=SimpleNamespace(_max_epochs=3),
        param_schedulers=None,
        optim_wrapper=SimpleNamespace(_accumulative_counts=1),
        warnings=warnings,
        log=log,
        logger=SimpleNamespace(info=log.append, warning=warnings.append),
    )


def banner(runner, **attributes) -> str:
    hook = RunBannerHook()
    for name, value in attributes.items():
        setattr(hook, name, value)
    hook.before_train(runner)
    assert len(runner.log) == 1
    return runner.log[0]


def test_what_trains_on_what(runner):
    text = banner(runner, precision='float16 autocast', notes=['a note'])
    for part in (
        'Detector, backbone mmswin.SwinTransformer (tiny)',
        '80 images, 3 classes',
        'CPU, 1 process',
        'float16 autocast',
        '1 BN layers (the config has SyncBN',
        '120 iterations in 3 epochs',
        'random weights',
        'results    w',
        'a note',
    ):
        assert part in text
    assert len(text.splitlines()) <= 12


def test_learning_rate_for_another_batch_is_warned_of(runner):
    text = banner(runner)
    assert '1 x 2 = 2 images at learning rate 0.0001, which is for 16' in text
    assert len(runner.warnings) == 1
    assert '1.25e-05' in runner.warnings[0]
    assert '--auto-scale-lr' in runner.warnings[0]


def test_learning_rate_for_this_batch_is_not(runner):
    runner.train_dataloader.batch_size = 4
    runner.optim_wrapper._accumulative_counts = 4
    assert '1 x 4 x 4 accumulated = 16 images' in banner(runner)
    assert runner.warnings == []


def test_scaled_learning_rate(runner):
    runner.cfg.auto_scale_lr.enable = True
    assert 'learning rate 1.25e-05 (auto_scale_lr: 0.0001 x 2 / 16)' in banner(runner)
    assert runner.warnings == []


def test_scaling_ignores_accumulation_and_says_so(runner):
    runner.cfg.auto_scale_lr.enable = True
    runner.optim_wrapper._accumulative_counts = 8
    banner(runner)
    assert 'does not count accumulated gradients' in runner.warnings[0]
    assert '0.0001' in runner.warnings[0]


def test_pretrained_weights_are_reported(runner):
    runner.cfg.auto_scale_lr = None
    runner.model.backbone.load_report = SimpleNamespace(summary=lambda: 'loaded 173 of 173')
    assert 'loaded 173 of 173' in banner(runner)


def test_pretrained_weights_that_were_not_loaded_are_warned_of(runner):
    runner.cfg.auto_scale_lr = None
    runner.cfg.model.backbone.init_cfg = {'type': 'Pretrained', 'checkpoint': 'swin.pth'}
    banner(runner)
    assert 'swin.pth' in runner.warnings[0]
    assert 'random weights' in runner.warnings[0]


def test_runner_that_was_given_objects_instead_of_a_config(runner):
    runner.cfg = Config({})
    assert 'Detector, backbone Backbone' in banner(runner)
    assert runner.warnings == []


def test_resumed_run(runner):
    runner.cfg.resume, runner.iter = True, 40
    text = banner(runner)
    assert 'resumed after iteration 40' in text
    assert "the weights are the checkpoint's" in text


@pytest.mark.parametrize(
    ('by_epoch', 'end', 'warned'),
    [(True, 3, ''), (True, 12, 'epoch 12'), (False, 120, ''), (False, 160, 'iteration 160')],
)
@pytest.mark.parametrize('several', [False, True])
def test_a_schedule_that_is_longer_than_the_run(runner, by_epoch, end, warned, several):
    runner.cfg.auto_scale_lr = None
    parameter = nn.Parameter(torch.zeros(1))
    made = [
        MultiStepLR(torch.optim.SGD([parameter], 0.1), milestones=[2], by_epoch=by_epoch, end=end),
        ConstantLR(torch.optim.SGD([parameter], 0.1)),  # without an end
    ]
    runner.param_schedulers = {'backbone': made[:1], 'head': made[1:]} if several else made
    banner(runner)
    assert len(runner.warnings) == bool(warned)
    assert all('MultiStepLR' in text and warned in text for text in runner.warnings)
