"""Save and stop when asked to: Slurm's time limit, a pre-emption, ``kill``, Ctrl-C, a terminal that is closed."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner

from mmswin import atomic
from mmswin.engine.processes import any_process, cpu_group, gather
from mmswin.engine.saving import BACKEND, resume_hint
from mmswin.errors import SavingError
from mmswin.registry import HOOKS

# SIGHUP is sent when a terminal is closed; Windows has none.
_SIGNALS = tuple(name for name in ('SIGTERM', 'SIGINT', 'SIGHUP') if name in signal.Signals.__members__)


class TrainingStopped(SystemExit):
    """Ends the process with status 128 + signal, as a shell reports a process that the signal ended."""


@HOOKS.register_module()
class StopOnSignalHook(Hook):
    """On a signal, finishes the iteration, saves a checkpoint that ``--resume`` finds, and ends the process.

    In several processes the decision is taken by all of them in the same iteration, whichever got the signal. Gradients
    that are being accumulated are applied first. A second Ctrl-C ends the process at once; other signals may be
    repeated. A signal that is ignored when training starts (``nohup``) stays so.

    Args:
        signals: Names of the signals.

    Raises:
        ValueError: An unknown signal's name.
        TrainingStopped: From the hook, after the checkpoint is saved.
    """

    # After the schedulers (LOW) have stepped and the checkpoint hook (VERY_LOW) has had its turn.
    priority = 'LOWEST'

    def __init__(self, signals: tuple[str, ...] = _SIGNALS) -> None:
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
            if signal.getsignal(signum) is not signal.SIG_IGN:
                self._previous[signum] = signal.signal(signum, self._remember)

    def after_train(self, runner: Runner) -> None:
        """Give the signals back."""
        self.restore()

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
        # A hook that has both validated has put the weights back in the second validation, and does not say in which it is.
        if any(isinstance(hook, EMAHook) and getattr(hook, 'evaluate_on_origin', False) for hook in runner.hooks):
            return
        self._stop(runner, epoch=runner.epoch, iteration=runner.iter, validating=True)

    def _remember(self, signum: int, frame: Any) -> None:
        if signum == signal.SIGINT and 'TORCHELASTIC_RUN_ID' not in os.environ:  # torchrun repeats what it gets
            if self.received == signum:
                raise KeyboardInterrupt
            with suppress(OSError):  # print may be what was interrupted
                os.write(2, b'Ctrl-C: the run saves and ends after this iteration; again: it ends at once\n')
        self.received = signum

    def restore(self) -> None:
        """Give the signals back, however training has ended."""
        while self._previous:
            signum, handler = self._previous.popitem()
            signal.signal(signum, handler)

    def _stop(self, runner: Runner, epoch: int, iteration: int, validating: bool = False) -> None:
        signum = self.received or self.signals[0]
        result = save(runner, epoch, iteration, validating)
        # The first process that exits takes the others down, so none may before the file is complete.
        gather(None)
        self.restore()
        runner.logger.warning(f'Stopped by {signal.Signals(signum).name} after iteration {iteration}; {result}')
        raise TrainingStopped(128 + signum)


def save(runner: Runner, epoch: int, iteration: int, validating: bool = False) -> str:
    """Save a run that ends early as :func:`save_state` does, perhaps in the midst of a validation.

    Returns:
        Half a sentence: where the run can go on from, and what went wrong if it could not be saved.
    """
    path = Path(runner.work_dir) / f'iter_{iteration}.pth'
    for hook in runner.hooks if validating else ():
        # It has put the average into the model, and back after the validation; mmpretrain's need not.
        if isinstance(hook, EMAHook) and getattr(hook, 'evaluate_on_ema', True):
            hook._swap_ema_parameters()
    try:
        save_state(runner, path, epoch, iteration)
    except SavingError as error:
        return f'{error}; {resume_hint(runner.work_dir)}'
    return f'saved {path}. To go on, repeat the command with --resume'


def save_state(runner: Runner, path: Path, epoch: int, iteration: int) -> None:
    """Save the state of a run, and name the file in ``last_checkpoint``; all processes must call.

    Raises:
        SavingError: The file cannot be written.
    """
    meta = {'epoch': epoch, 'iter': iteration}
    runner.save_checkpoint(str(path.parent), path.name, meta=meta, by_epoch=False, backend_args={'backend': BACKEND})
    if is_main_process():
        atomic.write(path.parent / 'last_checkpoint', str(path))


def _gradients_applied(runner: Runner) -> bool:
    wrappers = runner.optim_wrapper
    wrappers = list(wrappers.values()) if isinstance(wrappers, OptimWrapperDict) else [wrappers]
    return all(wrapper.should_update() for wrapper in wrappers)
