"""mmengine's training loops, resumed in the middle of an epoch without loading the skipped images.

mmengine's epoch loop starts an interrupted epoch over while its iteration counter goes on, so the run ends with too
many iterations; its iteration loop loads and throws away every batch seen so far, which takes hours late in a run.
Here only the indices are skipped.
"""

import itertools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop as _EpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from mmengine.runner import Runner
from mmengine.runner.loops import _InfiniteDataloaderIterator
from torch.utils.data import DataLoader

from mmswin.registry import LOOPS


class _Skipping:
    """A batch sampler whose passes begin late as long as it is ``active``.

    Not only its first pass: a loader with workers asks for two when it starts, and uses the second. Persistent workers
    keep the sampler that they were started with, so it must be whole again later.
    """

    active = True

    def __init__(self, batch_sampler: Any, batches: int) -> None:
        self._batch_sampler = batch_sampler
        self._batches = batches

    def __iter__(self) -> Iterator:
        return itertools.islice(iter(self._batch_sampler), self._batches if self.active else 0, None)

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_batch_sampler'], name)


@contextmanager
def skipping(dataloader: DataLoader, batches: int) -> Iterator[None]:
    """While this lasts, a new pass over ``dataloader`` begins after its first ``batches`` batches."""
    whole = dataloader.batch_sampler
    # The loader forbids replacing its sampler because running workers would not notice. None runs on this pass yet,
    # and the sampler is only read in this process.
    shortened = _Skipping(whole, batches)
    object.__setattr__(dataloader, 'batch_sampler', shortened)
    try:
        yield
    finally:
        shortened.active = False
        object.__setattr__(dataloader, 'batch_sampler', whole)


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


def _shielded_loader(runner: Runner, dataloader: DataLoader | dict) -> DataLoader:
    if not isinstance(dataloader, DataLoader):
        dataloader = runner.build_dataloader(dataloader, seed=runner.seed,
                                             diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False))
    if dataloader.num_workers > 0 and hasattr(signal, 'sigtimedwait'):  # not on macOS and Windows
        dataloader.worker_init_fn = partial(_init_shielded_worker, dataloader.worker_init_fn)
    return dataloader


@LOOPS.register_module()
class EpochBasedTrainLoop(_EpochBasedTrainLoop):
    """mmengine's epoch loop; a run resumed inside an epoch goes on with that epoch's next batch.

    Args:
        runner: The runner.
        dataloader: The loader or its config.
        kwargs: As for mmengine's loop (``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals``).
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        super().__init__(runner, _shielded_loader(runner, dataloader), **kwargs)

    @property
    def batches_done(self) -> int:
        """Batches of the current epoch that have been trained on."""
        return self._iter - self._epoch * len(self.dataloader)

    def run_epoch(self) -> None:
        """Train for what is left of one epoch."""
        done = self.batches_done
        if not 0 <= done <= len(self.dataloader):
            print_log(f'The checkpoint is at iteration {self._iter} and epoch {self._epoch}, but an epoch has '
                      f'{len(self.dataloader)} batches here: data or batch size have changed since, so this epoch '
                      'starts from its beginning.', logger='current', level=logging.WARNING)
            done = 0
        if done == 0:
            super().run_epoch()
            return
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if done < len(self.dataloader):
            with skipping(self.dataloader, done):
                batches = iter(self.dataloader)
            for index, batch in enumerate(batches, start=done):
                self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class _NotYetOpen:
    """Stands in for a loader while mmengine's iteration loop is set up.

    It would start the workers at once, before it is known where to resume, and they would advance the samplers.
    """

    def __init__(self, dataloader: DataLoader) -> None:
        self.dataset = dataloader.dataset

    def __iter__(self) -> Iterator:
        return iter(())


@LOOPS.register_module()
class IterBasedTrainLoop(_IterBasedTrainLoop):
    """mmengine's iteration loop; a resumed run skips indices instead of loading what it has seen.

    Args:
        runner: The runner.
        dataloader: The loader or its config.
        kwargs: As for mmengine's loop (``max_iters``, ``val_begin``, ``val_interval``, ``dynamic_intervals``).
    """

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, **kwargs: Any) -> None:
        dataloader = _shielded_loader(runner, dataloader)
        super().__init__(runner, _NotYetOpen(dataloader), **kwargs)
        self.dataloader = dataloader

    def run(self) -> Any:
        """Train until ``max_iters``."""
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self.dataloader_iterator = self._iterator_after(self._iter)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(next(self.dataloader_iterator))
            self._decide_current_val_interval()
            if self._is_time_to_validate():
                self.runner.val_loop.run()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _is_time_to_validate(self) -> bool:
        if self.runner.val_loop is None or self._iter < self.val_begin:
            return False
        return self._iter % self.val_interval == 0 or self._iter == self._max_iters

    def _iterator_after(self, batches: int) -> _InfiniteDataloaderIterator:
        """The endless iterator as an uninterrupted run would have it after ``batches`` batches."""
        sampler = self.dataloader.batch_sampler.sampler
        passes = 0
        if not isinstance(sampler, InfiniteSampler):
            passes, batches = divmod(batches, len(self.dataloader))
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(passes)
        with skipping(self.dataloader, batches):
            iterator = _InfiniteDataloaderIterator(self.dataloader)
            if iterator._iterator is None:  # the forks' is opened on first use, when it would be too late
                iterator._iterator = iter(self.dataloader)
        iterator._epoch = passes
        return iterator
