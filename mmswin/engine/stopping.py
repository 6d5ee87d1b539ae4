"""Save and stop when the machine asks for it: Slurm's time limit, a pre-emption, ``kill``."""

import signal
import threading
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from mmswin import atomic
from mmswin.engine.collectives import any_process, cpu_group, wait_for_all
from mmswin.engine.saving import BACKEND, resume_hint
from mmswin.errors import SavingError
from mmswin.registry import HOOKS


class TrainingStopped(SystemExit):
    """Ends the process with status 128 + signal, as a shell reports a process that the signal ended."""


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """On a signal, finishes the iteration, saves a checkpoint that ``--resume`` finds, and ends the process.

    In several processes the decision is taken by all of them in the same iteration, whichever got the signal. Gradients
    that are being accumulated are applied first. A second signal changes nothing.

    Args:
        signals: Names of the signals.

    Raises:
        ValueError: An unknown signal's name.
        TrainingStopped: From the hook, after the checkpoint is saved.
    """

    # After the schedulers (LOW) have stepped and the checkpoint hook (VERY_LOW) has had its turn.
    priority = 'LOWEST'

    def __init__(self, signals: tuple[str, ...] = ('SIGTERM',)) -> None:
        unknown = [name for name in signals if name not in signal.Signals.__members__]
        if unknown:
            raise ValueError(f'unknown signals {unknown}; use names such as SIGTERM or SIGUSR1')
        self.signals = [signal.Signals[name] for name in signals]
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Take over the signals."""
        cpu_group()
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning('StopOnSignalHook does nothing: Python handles signals in the main thread only')
            return
        for signum in self.signals:
            self._previous[signum] = signal.signal(signum, self._remember)

    def after_train(self, runner: Runner) -> None:
        """Give the signals back."""
        self._restore()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Stop here if a signal came."""
        if not _gradients_applied(runner) or not any_process(self.received is not None):
            return
        self._stop(runner, epoch=runner.epoch, iteration=runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """A validation during training need not be waited for; several processes do, as their batches may differ."""
        if self.received is None or cpu_group() is not None or not self._previous:
            return
        self._stop(runner, epoch=runner.epoch, iteration=runner.iter)

    def _remember(self, signum: int, frame: Any) -> None:
        self.received = signum

    def _restore(self) -> None:
        while self._previous:
            signum, handler = self._previous.popitem()
            signal.signal(signum, handler)

    def _stop(self, runner: Runner, epoch: int, iteration: int) -> None:
        signum = self.received or self.signals[0]
        path = Path(runner.work_dir) / f'iter_{iteration}.pth'
        fault = None
        try:
            save_state(runner, path, epoch, iteration)
        except SavingError as error:
            fault = str(error)
        # The first process that exits takes the others down, so none may before the file is whole.
        wait_for_all()
        self._restore()
        stopped = f'Stopped by {signal.Signals(signum).name} after iteration {iteration}'
        if fault:
            runner.logger.error(f'{stopped}, but {fault}; {resume_hint(runner.work_dir)}')
        else:
            runner.logger.warning(f'{stopped} and saved {path}. To go on, repeat the command with --resume.')
        raise TrainingStopped(128 + signum)


def save_state(runner: Runner, path: Path, epoch: int, iteration: int) -> None:
    """Save the state of a run, and name the file in ``last_checkpoint``; all processes must call.

    Raises:
        SavingError: The file cannot be written.
    """
    runner.save_checkpoint(
        str(path.parent),
        path.name,
        meta={'epoch': epoch, 'iter': iteration},
        by_epoch=False,
        backend_args={'backend': BACKEND},
    )
    if is_main_process():
        atomic.write(path.parent / 'last_checkpoint', str(path))


def _gradients_applied(runner: Runner) -> bool:
    wrappers = runner.optim_wrapper
    wrappers = list(wrappers.values()) if isinstance(wrappers, OptimWrapperDict) else [wrappers]
    return all(wrapper.should_update() for wrapper in wrappers)
