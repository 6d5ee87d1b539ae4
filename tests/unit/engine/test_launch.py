"""Before a run: what is refused names a way round, and checkpoints of other runs are left alone."""

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmswin.checkpoints import CheckpointError
from mmswin.engine import StopOnSignalHook, launch, lock
from mmswin.engine.launch import _can_be_skipped, _check_training
from mmswin.engine.preflight import AbsentDataError
from mmswin.errors import NonFiniteLossError, RunError


@pytest.mark.parametrize('kind', [RunError, CheckpointError])
def test_a_refusal_names_a_way_round(kind):
    with pytest.raises(kind, match=r'^no\. .*--skip-preflight$'), _can_be_skipped():
        raise kind('no')
    with pytest.raises(kind, match='^no --skip-data-check$'), _can_be_skipped():
        raise kind('no --skip-data-check')


def test_no_way_round_data_that_are_not_there():
    with pytest.raises(AbsentDataError, match='^gone$'), _can_be_skipped():
        raise AbsentDataError('gone')


def test_it_is_a_way_round(tmp_path):
    (tmp_path / 'file').touch()
    cfg = Config({'model': {'type': 'NoModel'}, 'work_dir': str(tmp_path / 'run')})
    with pytest.raises(RunError, match='NoModel.*--skip-preflight'):
        _check_training(cfg, overwrite=False, skip_data_check=True, skip_preflight=False)
    assert _check_training(cfg, overwrite=False, skip_data_check=False, skip_preflight=True) == []
    cfg.work_dir = str(tmp_path / 'file' / 'run')
    with pytest.raises(RunError, match='no directory.*--skip-preflight'):
        _check_training(cfg, overwrite=False, skip_data_check=True, skip_preflight=False)


def test_a_run_resumed_elsewhere_does_not_write_over_another(tmp_path):
    state = {'state_dict': {}, 'optimizer': {}, 'message_hub': {}, 'meta': {'iter': 1, 'epoch': 1}}
    for name in ('old', 'new', 'out/run'):
        (tmp_path / name).mkdir(parents=True)
        torch.save(state, tmp_path / name / 'epoch_1.pth')
    model, old, new = {'type': 'NoModel'}, str(tmp_path / 'old'), str(tmp_path / 'new')

    def check(work_dir, file, overwrite=False):
        cfg = Config({'model': model, 'work_dir': work_dir, 'resume': True, 'load_from': str(tmp_path / file)})
        cfg.merge_from_dict({'randomness': {'seed': 0}, 'optim_wrapper': {}})
        _check_training(cfg, overwrite, skip_data_check=True, skip_preflight=True)

    with pytest.raises(RunError, match='another run.*--overwrite'):
        check(new, 'old/epoch_1.pth')
    check(new, 'old/epoch_1.pth', overwrite=True)
    check(str(tmp_path / 'none'), 'old/epoch_1.pth')
    check(old, 'old/epoch_1.pth')
    (tmp_path / 'link.pth').symlink_to(tmp_path / 'old' / 'epoch_1.pth')
    check(old, 'link.pth')
    # A checkpoint hook with an out_dir keeps them elsewhere.
    (tmp_path / 'new' / 'last_checkpoint').write_text(str(tmp_path / 'out' / 'run' / 'epoch_1.pth'))
    check(new, 'out/run/epoch_1.pth')


def test_resuming_and_starting_from_weights_exclude_each_other() -> None:
    with pytest.raises(RunError, match='--load-from'):
        launch.train('no_config.py', resume='auto', load_from='weights.pth')


@pytest.mark.parametrize(
    ('saved', 'given', 'used', 'notes'),
    [(5, None, 5, 0), (5, 5, 5, 0), (5, 6, 6, 1), (None, 6, 6, 0), (None, None, None, 0)],
)
def test_a_resumed_run_has_the_seed_of_the_stopped_one(saved, given, used, notes) -> None:
    cfg, said = Config(dict(randomness=dict(seed=given))), []
    launch._keep_seed(cfg, {'meta': {'seed': saved}}, said)
    assert cfg.randomness.seed == used
    assert len(said) == notes and all('6' in note and '5' in note for note in said)


SECTIONS = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper')


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file with all that training needs, as far as the checks look that tests leave in."""
    path = tmp_path / 'config.py'
    path.write_text('\n'.join(f'{name} = dict()' for name in SECTIONS))
    return path


@pytest.mark.parametrize('name', SECTIONS)
def test_a_part_of_a_config_is_none(config: Path, name: str) -> None:
    config.write_text(config.read_text().replace(f'{name} =', 'other ='))
    with pytest.raises(RunError, match=f'config.py has no {name}, .*train'):
        launch.train(str(config))
    with pytest.raises(RunError, match='has no .*test_dataloader, test_cfg, test_evaluator'):
        launch.test(str(config), 'x.pth')


def test_a_config_that_pretrains_has_no_test(config: Path) -> None:
    config.write_text("model = dict(type='SimMIM')\ntrain_dataloader = dict(batch_size=1)")
    with pytest.raises(RunError, match='test_dataloader.* mmswin browse'):
        launch.test(str(config), 'x.pth')


def test_half_a_validation_is_refused(config: Path) -> None:
    config.write_text(f'{config.read_text()}\nval_dataloader = dict()\nval_cfg = dict()\n')
    with pytest.raises(RunError, match='has no val_evaluator, but val_dataloader, val_cfg: '):
        launch.train(str(config))


def test_the_other_processes_of_a_run_leave_the_lock_to_the_first(tmp_path, config, monkeypatch) -> None:
    """Under Slurm and MPI, RANK is not set before mmengine's Runner sets it."""

    def further(*args: object) -> list[str]:
        raise RunError('further')

    monkeypatch.setattr(launch, '_check_training', further)
    monkeypatch.setattr(lock, 'check', further)
    monkeypatch.delenv('RANK', raising=False)
    monkeypatch.setenv('SLURM_PROCID', '1')
    seen = []
    monkeypatch.setattr(lock, 'check', lambda work_dir, ignore: seen.append(ignore))
    for launcher, ignore in (('slurm', False), ('none', False), ('none', True)):
        with pytest.raises(RunError, match='further'):
            launch.train(str(config), work_dir=str(tmp_path / 'run'), launcher=launcher, ignore_lock=ignore)
    assert seen == [True, False, True]


def test_signals_are_given_back_when_training_ends_by_an_error(tmp_path, config, monkeypatch) -> None:
    """In a notebook the next Ctrl-C would be swallowed otherwise."""
    hook = StopOnSignalHook()

    def train() -> None:
        hook.before_train(runner)
        raise NonFiniteLossError('nan')

    runner = SimpleNamespace(hooks=[hook], train=train, logger=None)
    monkeypatch.setattr(launch, '_check_training', lambda *args: [])
    monkeypatch.setattr(launch, '_build_runner', lambda cfg: runner)
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    with pytest.raises(NonFiniteLossError):
        launch.train(str(config), work_dir=str(tmp_path / 'run'))
    assert {name: signal.getsignal(name) for name in before} == before
    for name, handler in before.items():
        signal.signal(name, handler)
