"""mmengine's training loops, made so that a resumed run is the run that was never stopped.

mmengine's epoch loop starts an interrupted epoch over while its iteration counter goes on, so the run ends with too
many iterations; its iteration loop loads and throws away every batch seen so far, which takes hours late in a run.
Here only the indices are skipped, and the random draws go on as well (:mod:`mmswin.engine.randomness`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import broadcast_object_list, get_rank, get_world_size, is_main_process
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop as _EpochBasedTrainLoop
from mmengine.runner import IterBasedTrainLoop as _IterBasedTrainLoop
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmswin import atomic
from mmswin.engine import stopping, workers
from mmswin.engine.randomness import ITERATION, PASS, VALIDATION, SeededBatchSampler, seed_generators
from mmswin.errors import BadImageError, LostProcessError, RunError
from mmswin.registry import LOOPS

# Holds the iteration of the last validation that came to its end.
_VALIDATED = 'last_validation'
# In the message hub: the epoch under way, and the iteration at which it began.
_BEGAN = 'epoch_began'


def _prepared_loader(runner: Runner, dataloader: DataLoader | dict) -> DataLoader:
    """The loader with shielded workers, and with a batch sampler that skips and seeds."""
    if not isinstance(dataloader, DataLoader):
        dataloader = runner.build_dataloader(
            dataloader, seed=runner.seed, diff_rank_seed=runner._randomness_cfg.get('diff_rank_seed', False)
        )
    workers.shield(dataloader)
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

    def _check_batches(self) -> None:
        """Refuse data that make no batch, of which mmengine would count epochs without a step."""
        if not len(self.dataloader):
            size = self.dataloader.batch_size or getattr(self.dataloader.batch_sampler, 'batch_size', 0)
            raise RunError(
                f'{len(self.dataloader.dataset)} images make no batch of {size}: set train_dataloader.batch_size to at most '
                'their number, or +train_dataloader.drop_last=False'
            )

    def _pass_after(self, epoch: int, batches: int) -> Iterator[Any]:
        """What is left of one pass over the data after so many batches."""
        self.dataloader.batch_sampler.epoch = epoch
        self._seed(PASS, epoch)
        with self.dataloader.batch_sampler.beginning_at(batches):
            return workers.batches(self.dataloader)

    @contextmanager
    def _saving_what_is_lost(self, validating: bool = False) -> Iterator[None]:
        """Save when a loader worker or an image is lost; between two iterations, where that is noticed, it is safe.

        Of several processes the others are in the midst of an iteration then, so nothing can be saved.
        """
        try:
            yield
        except (LostProcessError, BadImageError) as error:
            result = stopping.resume_hint(self.runner.work_dir)
            if get_world_size() == 1:
                result = stopping.save(self.runner, self._epoch, self._iter, validating)
            raise type(error)(f'after iteration {self._iter} {error}; {result}') from error

    def _follow_batch_size(self) -> None:
        """Say that a resumed run has other batches, and count iterations so that the rest of the run is what it is."""
        images = self.dataloader.batch_size or getattr(self.dataloader.batch_sampler, 'batch_size', 0)
        now = {'images_per_iteration': get_world_size() * images, 'iterations_per_epoch': len(self.dataloader)}
        hub = self.runner.message_hub
        before = {name: hub.get_info(name) for name in now if name in hub.runtime_info}
        hub.update_info_dict(now)
        if self._iter == 0:
            return
        changed = [f'{old} {key.replace("_", " ")} became {now[key]}' for key, old in before.items() if old != now[key]]
        told = ': ' * bool(changed) + ', '.join(changed)
        text = f'The run that is resumed had another batch size or other data{told}.'
        if hasattr(self, 'run_epoch'):
            length = len(self.dataloader)
            if self._epoch and self._iter % self._epoch == 0:  # saved after an epoch, also by mmengine
                before.setdefault('iterations_per_epoch', self._iter // self._epoch)
            known = before.get('iterations_per_epoch', length) == length
            if not known or not 0 <= self.batches_done <= length:
                self._iter = self._epoch * length
                hub.update_info(_BEGAN, [self._epoch, self._iter])
                text += (
                    f' Epoch {self._epoch + 1} starts from its beginning; iterations are counted on from {self._iter}.'
                )
                changed.append(text)
                self.runner.optim_wrapper.initialize_count_status(self.runner.model, self._iter, self.max_iters)
        if changed:
            print_log(text, logger='current', level=logging.WARNING)

    def run_iter(self, *args: Any) -> None:
        """Train on one batch; arguments as for mmengine's."""
        self._seed(ITERATION, self._iter)
        super().run_iter(*args)

    @property
    def _progress(self) -> tuple[int, int]:
        """How many epochs (iterations) are done, and how many it takes."""
        by_epoch = hasattr(self, 'run_epoch')
        return (self._epoch, self._max_epochs) if by_epoch else (self._iter, self._max_iters)

    def _is_time_to_validate(self) -> bool:
        if self.runner.val_loop is None:
            return False
        done, end = self._progress
        return done >= self.val_begin and (done % self.val_interval == 0 or done == end)

    def _validate(self) -> None:
        self._seed(VALIDATION, self._iter)
        with self._saving_what_is_lost(validating=True), workers.explained_loss_of_worker():
            self.runner.val_loop.run()
        if is_main_process():
            atomic.write(Path(self.runner.work_dir, _VALIDATED), str(self._iter))

    def _make_up_validation(self) -> None:
        """Validate what was saved by a run that was stopped before or in the validation which then was due."""
        self._decide_current_val_interval()
        done, end = self._progress
        if self._iter and done >= end:
            print_log(f'This run is complete ({self._iter} iterations): nothing is left to train.', logger='current')
        if self._iter == 0 or not self._is_time_to_validate():
            return
        note = Path(self.runner.work_dir, _VALIDATED)
        pending = [not note.is_file() or note.read_text() != str(self._iter)]
        broadcast_object_list(pending)  # the file is the first process's
        if pending[0]:
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
        self._check_batches()
        self._follow_batch_size()
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

    @property
    def batches_done(self) -> int:
        """Batches of the current epoch that have been trained on."""
        began = self.runner.message_hub.runtime_info.get(_BEGAN)
        if began is not None and began[0] == self._epoch:
            return self._iter - began[1]
        done = self._iter - self._epoch * len(self.dataloader)
        return done if began is None else max(0, done)  # some samplers give fewer batches than they say

    def run_epoch(self) -> None:
        """Train for what is left of one epoch."""
        done = self.batches_done
        self.runner.message_hub.update_info(_BEGAN, [self._epoch, self._iter - done])
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        if done < len(self.dataloader):
            with self._saving_what_is_lost():
                for index, batch in enumerate(self._pass_after(self._epoch, done), start=done):
                    self.run_iter(index, batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


class _Closed(NamedTuple):
    """Stands in for a loader while mmengine's iteration loop is set up."""

    dataset: Any


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
        # mmengine would start the workers at once, before it is known where to resume, and they would advance the samplers.
        super().__init__(runner, _Closed(dataloader.dataset), **kwargs)
        self.dataloader = dataloader

    def run(self) -> Any:
        """Train until ``max_iters``."""
        self._follow_batch_size()
        self.runner.call_hook('before_train')
        self.runner.call_hook('before_train_epoch')
        self._make_up_validation()
        self.dataloader_iterator = self._batches_after(self._iter)
        while self._iter < self._max_iters and not self.stop_training:
            self.runner.model.train()
            with self._saving_what_is_lost():
                batch = next(self.dataloader_iterator)
            self.run_iter(batch)
            self._decide_current_val_interval()
            if self._is_time_to_validate():
                self._validate()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _batches_after(self, batches: int) -> Iterator[Any]:
        """Batches without end, as an uninterrupted run would have them after so many; a pass follows the other."""
        sampler = self.dataloader.batch_sampler.sampler
        epoch = 0
        # mmdet's samplers of several sources have no end either.
        if not isinstance(sampler, InfiniteSampler) and 'MultiSourceSampler' not in type(sampler).__name__:
            self._check_batches()
            epoch, batches = divmod(batches, len(self.dataloader))
        while True:
            if hasattr(sampler, 'set_epoch'):
                sampler.set_epoch(epoch)
            yield from self._pass_after(epoch, batches)
            epoch, batches = epoch + 1, 0
