"""mmengine's training loops, made so that a resumed run is the run that was never stopped.

mmengine's epoch loop starts an interrupted epoch over while its iteration counter goes on, so the run ends with too
many iterations; its iteration loop loads and throws away every batch seen so far, which takes hours late in a run.
Here only the indices are skipped, and the random draws go on as well (:mod:`mmswin.engine.randomness`).
"""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, get_rank, is_main_process
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop as _EpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmswin import atomic
from mmswin.engine.randomness import ITERATION, PASS, VALIDATION, SeededBatchSampler, seed_generators
from mmswin.registry import LOOPS

# Holds the iteration of the last validation that came to its end.
_VALIDATED = 'last_validation'


def _init_shielded_worker(init: Callable[[int], None] | None, worker_id: int) -> None:
    """Start a loader worker that only its training process can end by SIGTERM.

    ``timeout``, Slurm and service managers send the signal to all processes of a group. A worker that dies of it takes
    the training process down in the middle of an iteration, before it can save. The training process itself does end
    its workers by this signal, so the sender decides: a thread waits for it, as a handler is not told who it was. The
    thread also ends a worker whose training process was killed; torch's own way hangs when a large batch is under way.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    if init is not None:
        init(worker_id)


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, 5.0)
        if received is not None and received.si_pid == parent:
            break
    os._exit(0)


def _prepared_loader(runner: Runner, dataloader: DataLoader | dict) -> DataLoader:
    """The loader with shielded workers, and with a batch sampler that skips and seeds."""
    if not isinstance(dataloader, DataLoader):
        dataloader = runner.build_dataloader(
            dataloader, seed=runner.seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False)
        )
    if dataloader.num_workers > 0 and hasattr(signal, 'sigtimedwait'):  # not on macOS and Windows
        dataloader.worker_init_fn = partial(_init_shielded_worker, dataloader.worker_init_fn)
    # The loader forbids replacing its sampler because running workers would not notice. None runs yet.
    object.__setattr__(dataloader, 'batch_sampler', SeededBatchSampler(dataloader.batch_sampler, lambda: runner.seed))
    return dataloader


class _Resumable:
    """What both loops do about the data and the random draws."""

    runner: Runner
    dataloader: DataLoader
    _iter: int

    def _seed(self, *place: int) -> None:
        if self.runner.seed is not None:
            seed_generators(self.runner.seed, *place, get_rank(), devices=get_device() != 'cpu')

    def _pass_after(self, epoch: int, batches: int) -> Iterator[Any]:
        """What is left of one pass over the data after so many batches."""
        self.dataloader.batch_sampler.epoch = epoch
        self._seed(PASS, epoch)
        with self.dataloader.batch_sampler.beginning_at(batches):
            return iter(self.dataloader)

    def _validate(self) -> None:
        self._seed(VALIDATION, self._iter)
        self.runner.val_loop.run()
        if is_main_process():
            atomic.write(Path(self.runner.work_dir, _VALIDATED), str(self._iter))

    def _make_up_validation(self) -> None:
        """Validate what was saved by a run that was stopped before or in the validation which then was due."""
        if self._iter == 0 or not self._is_time_to_validate():
            return
        note = Path(self.runner.work_dir, _VALIDATED)
        owed = [not note.is_file() or note.read_text() != str(self._iter)]
        broadcast_object_list(owed)  # the file is the first process's
        if owed[0]:
            print_log(
                f'Iteration {self._iter} was saved, but its validation did not end: it comes first.', logger='current'
            )
            self._validate()


@LOOPS.register_module()
class EpochBasedTrainLoop(_Resumable, _EpochBasedTrainLoop):
    """mmengine's epoch loop; a run resumed inside an epoch goes on with that epoch's next batch.

    Args:
        runner: The runner.
        dataloader: The loader or its config.
        kwargs: As for mmengine's loop (``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals``).
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        super().__init__(runner, _prepared_loader(runner, dataloader), **kwargs)

    def run(self) -> Any:
        """Train until ``max_epochs``."""
        self.runner.call_hook('before_train')
        if self.batches_done == 0:
            self._make_up_validation()
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            if self._is_time_to_validate():
                self._validate()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _is_time_to_validate(self) -> bool:
        if self.runner.val_loop is None or self._epoch < self.val_begin:
            return False
        return self._epoch % self.val_interval == 0 or self._epoch == self._max_epochs

    @property
    def batches_done(self) -> int:
        """Batches of the current epoch that have been trained on."""
        return self._iter - self._epoch * len(self.dataloader)

    def run_epoch(self) -> None:
        """Train for what is left of one epoch."""
        done = self.batches_done
        if not 0 <= done <= len(self.dataloader):
            print_log(
                f'The checkpoint is at iteration {self._iter} and epoch {self._epoch}, but an epoch has '
                f'{len(self.dataloader)} batches here: data or batch size have changed since, so this epoch '
                'starts from its beginning.',
                logger='current',
                level=logging.WARNING,
            )
            done = 0
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if done < len(self.dataloader):
            for index, batch in enumerate(self._pass_after(self._epoch, done), start=done):
                self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train on one batch."""
        self._seed(ITERATION, self._iter)
        super().run_iter(idx, data_batch)


class _NotYetOpen:
    """Stands in for a loader while mmengine's iteration loop is set up.

    It would start the workers at once, before it is known where to resume, and they would advance the samplers.
    """

    def __init__(self, dataloader: DataLoader) -> None:
        self.dataset = dataloader.dataset

    def __iter__(self) -> Iterator:
        return iter(())


@LOOPS.register_module()
class IterBasedTrainLoop(_Resumable, _IterBasedTrainLoop):
    """mmengine's iteration loop; a resumed run skips indices instead of loading what it has seen.

    Args:
        runner: The runner.
        dataloader: The loader or its config.
        kwargs: As for mmengine's loop (``max_iters``, ``val_begin``, ``val_interval``, ``dynamic_intervals``).
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        dataloader = _prepared_loader(runner, dataloader)
        super().__init__(runner, _NotYetOpen(dataloader), **kwargs)
        self.dataloader = dataloader

    def run(self) -> Any:
        """Train until ``max_iters``."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._make_up_validation()
        self.dataloader_iterator = self._batches_after(self._iter)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self._is_time_to_validate():
                self._validate()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def run_iter(self, data_batch: Any) -> None:
        """Train on one batch."""
        self._seed(ITERATION, self._iter)
        super().run_iter(data_batch)

    def _is_time_to_validate(self) -> bool:
        if self.runner.val_loop is None or self._iter < self.val_begin:
            return False
        return self._iter % self.val_interval == 0 or self._iter == self._max_iters

    def _batches_after(self, batches: int) -> Iterator[Any]:
        """Batches without end, as an uninterrupted run would have them after so many; a pass follows the other."""
        sampler = self.dataloader.batch_sampler.sampler
        epoch = 0
        if not isinstance(sampler, InfiniteSampler):
            epoch, batches = divmod(batches, len(self.dataloader))
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            yield from self._pass_after(epoch, batches)
            epoch, batches = epoch + 1, 0
