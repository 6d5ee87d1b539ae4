"""StopOnSignalHook: a signal is remembered, the run ends after the iteration with a complete checkpoint that --resume
finds; gradients under accumulation are applied first; other handlers come back.
"""

import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmswin.engine import StopOnSignalHook, TrainingStopped
from mmswin.errors import SavingError


@pytest.fixture
def runner(tmp_path):
    warnings = []
    layer = nn.Linear(1, 1)
    wrapper = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1))
    wrapper.initialize_count_status(layer, 0, 10)

    def save_checkpoint(out_dir, filename, meta, by_epoch, backend_args):
        torch.save({'meta': meta}, f'{out_dir}/{filename}')

    return SimpleNamespace(
        iter=6,
        epoch=1,
        work_dir=str(tmp_path),
        hooks=[],
        model=layer,
        optim_wrapper=wrapper,
        save_checkpoint=save_checkpoint,
        warnings=warnings,
        logger=SimpleNamespace(warning=warnings.append, error=warnings.append),
    )


@pytest.fixture(autouse=True)
def handlers_are_restored():
    # A shell's background processes ignore the first one, those of nohup the second.
    outside = [(number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    after = signal.getsignal(signal.SIGTERM)
    for number, before in outside:
        signal.signal(number, before)
    assert after is outside[-1][1]


def step(runner) -> None:
    """One training step as the counters of the optimizer wrapper see it."""
    runner.optim_wrapper._inner_count += 1


def test_no_signal_changes_nothing(runner, tmp_path):
    hook = StopOnSignalHook()
    hook.before_train(runner)
    step(runner)
    hook.after_train_iter(runner, 0)
    hook.after_train(runner)
    assert list(tmp_path.iterdir()) == []


def test_signal_saves_and_ends_after_the_iteration(runner, tmp_path):
    hook = StopOnSignalHook()
    hook.before_train(runner)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # the launcher may repeat it
    step(runner)
    with pytest.raises(TrainingStopped) as caught:
        hook.after_train_iter(runner, 0)
    assert caught.value.code == 143
    path = tmp_path / 'iter_7.pth'
    assert torch.load(path)['meta'] == {'epoch': 1, 'iter': 7}
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['iter_7.pth', 'last_checkpoint']
    assert 'SIGTERM after iteration 7' in runner.warnings[0]
    assert '--resume' in runner.warnings[0]


@pytest.mark.parametrize(('name', 'status'), [('SIGINT', 130), ('SIGHUP', 129)])
def test_a_terminal_stops_it_as_well(runner, tmp_path, name, status):
    hook = StopOnSignalHook()
    hook.before_train(runner)
    signal.raise_signal(signal.Signals[name])
    step(runner)
    with pytest.raises(TrainingStopped) as caught:
        hook.after_train_iter(runner, 0)
    assert caught.value.code == status
    assert (tmp_path / 'iter_7.pth').exists()


def test_a_second_ctrl_c_ends_at_once(runner, monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    hook = StopOnSignalHook()
    hook.before_train(runner)
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    hook.after_train(runner)


def test_a_signal_that_is_ignored_stays_so(runner):
    """As nohup leaves it."""
    earlier = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hook = StopOnSignalHook()
    hook.before_train(runner)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    hook.after_train(runner)
    signal.signal(signal.SIGHUP, earlier)


def test_no_room_for_the_checkpoint_is_said_and_the_run_ends_all_the_same(runner, tmp_path):
    def save_checkpoint(*args, **kwargs):
        raise SavingError('iter_7.pth could not be saved: No space left on device')

    runner.save_checkpoint = save_checkpoint
    (tmp_path / 'last_checkpoint').write_text('runs/iter_4.pth')
    hook = StopOnSignalHook()
    hook.before_train(runner)
    signal.raise_signal(signal.SIGTERM)
    step(runner)
    with pytest.raises(TrainingStopped) as caught:
        hook.after_train_iter(runner, 0)
    assert caught.value.code == 143
    for text in ('SIGTERM after iteration 7; iter_7.pth could not be saved', 'last complete', 'runs/iter_4.pth'):
        assert text in runner.warnings[0]
    assert (tmp_path / 'last_checkpoint').read_text() == 'runs/iter_4.pth'


def test_accumulated_gradients_are_applied_first(runner):
    runner.optim_wrapper._accumulative_counts = 2
    hook = StopOnSignalHook()
    hook.before_train(runner)
    signal.raise_signal(signal.SIGTERM)
    step(runner)
    hook.after_train_iter(runner, 0)
    step(runner)
    with pytest.raises(TrainingStopped):
        hook.after_train_iter(runner, 1)


def test_signal_in_a_validation_is_not_kept_waiting(runner, tmp_path):
    """The loop's counters then already stand at the next epoch."""
    hook = StopOnSignalHook()
    hook.before_train(runner)
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(TrainingStopped):
        hook.after_val_iter(runner, 0)
    assert torch.load(tmp_path / 'iter_6.pth')['meta'] == {'epoch': 1, 'iter': 6}


def test_validation_alone_is_left_to_the_default_handler(runner):
    """tools that only validate never call before_train."""
    hook = StopOnSignalHook()
    hook.received = signal.SIGTERM
    hook.after_val_iter(runner, 0)


def test_outside_the_main_thread_it_says_so(runner):
    hook = StopOnSignalHook()
    thread = threading.Thread(target=hook.before_train, args=(runner,))
    thread.start()
    thread.join()
    assert 'main thread' in runner.warnings[0]


def test_unknown_signal_is_refused():
    with pytest.raises(ValueError, match='SIGTREM'):
        StopOnSignalHook(signals=('SIGTREM',))
