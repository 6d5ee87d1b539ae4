"""The random numbers of a training run, as a function of its seed and of where the run is.

mmengine seeds the generators of Python, numpy and torch once and lets them run on. Then what an image's augmentation
draws depends on all that was drawn before it, in this process or in the loader's worker that happened to get it, and no
checkpoint can bring that back: when one is saved, workers have long drawn for batches that are not trained on yet. Here
all generators are seeded again

* for each sample that a loader reads, from the seed, the pass over the data and the sample's place in that pass;
* for each iteration, before its hooks and the model run, from the seed, the iteration and the process's rank;
* for each pass over the data and each validation.

So a run that is resumed at iteration n draws what the uninterrupted run draws from iteration n on, whatever the number
of workers, and two processes augment an image as one process with twice the batch does. All the random state that a
checkpoint needs is two numbers and the version of this scheme (:func:`describe`). The seeds come from
:class:`numpy.random.SeedSequence`, made for deriving independent streams. Cost: some 0.1 ms a sample and an iteration.

Not reached: what keeps earlier images in a worker's memory (mmdet's ``CachedMosaic`` and ``CachedMixUp``) and
generators of a library's own.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_dist_info

# Raised when the seeds below are derived in another way: a run of an older version then resumes with other draws.
SCHEME = 1

# What is seeded; the first part of its place.
SAMPLE, ITERATION, PASS, VALIDATION = range(4)


def seed_generators(seed: int, *place: int, devices: bool = False) -> None:
    """Set the generators of Python, numpy and torch, and those of GPUs on request, for what draws at a place in the run."""
    words = np.random.SeedSequence([seed, *place]).generate_state(10)
    # Different words for each: Python's and numpy's generators are the same algorithm.
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:8])
    number = int.from_bytes(words[8:].tobytes(), 'little')
    if devices:
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def describe(seed: int | None, iteration: int) -> dict[str, int | None]:
    """The random state of a run after an iteration, for its checkpoint: plain numbers."""
    return {'scheme': SCHEME, 'seed': seed, 'iteration': iteration}


class SeededBatch(Sequence):
    """The indices of one batch; iterating over them sets the generators for each in turn.

    A loader reads ``[dataset[index] for index in batch]``, in this process or in a worker, so each sample finds the
    generators as its place says, whatever the data set does with them, and data sets and workers need not know.
    """

    def __init__(self, indices: Sequence[Any], seed: int, epoch: int, places: range) -> None:
        self._indices = list(indices)
        self._seed, self._epoch, self._places = seed, epoch, places

    def __iter__(self) -> Iterator[Any]:
        for index, place in zip(self._indices, self._places):
            seed_generators(self._seed, SAMPLE, self._epoch, place)
            yield index

    def __getitem__(self, position: Any) -> Any:
        return self._indices[position]

    def __len__(self) -> int:
        return len(self._indices)


class SeededBatchSampler:
    """A batch sampler whose batches are :class:`SeededBatch`, and whose passes can begin late.

    Place k of process r among w is place ``k * w + r`` of the pass: mmengine's samplers deal the images out in turn, so
    that is the image's place in the order that one process has.

    Args:
        batch_sampler: The sampler of lists of indices.
        seed: Returns the run's seed, which is not known before a checkpoint is loaded; None leaves the draws to chance.

    Attributes:
        epoch: Number of the next pass.
    """

    def __init__(self, batch_sampler: Any, seed: Callable[[], int | None]) -> None:
        self._batch_sampler = batch_sampler
        self._seed = seed
        self._begin = 0
        self.epoch = 0

    @contextmanager
    def beginning_at(self, batch: int) -> Iterator[None]:
        """While this lasts, a new pass begins after its first ``batch`` batches; only their indices are walked.

        Not only the first pass: a loader with workers asks for two when it starts, and uses the second.
        """
        self._begin = batch
        try:
            yield
        finally:
            self._begin = 0

    def __iter__(self) -> Iterator[Any]:
        # Now, not when the first batch is asked for: that may be after the context above has ended.
        return self._batches(self._begin, self.epoch, self._seed())

    def _batches(self, begin: int, epoch: int, seed: int | None) -> Iterator[Any]:
        rank, processes = get_dist_info()
        place = rank
        for number, indices in enumerate(self._batch_sampler):
            after = place + len(indices) * processes
            if number >= begin:
                yield indices if seed is None else SeededBatch(indices, seed, epoch, range(place, after, processes))
            place = after

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def __getattr__(self, name: str) -> Any:
        if '_batch_sampler' not in self.__dict__:  # while it is being copied
            raise AttributeError(name)
        return getattr(self._batch_sampler, name)
