"""Exact bytes that autograd keeps between forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from mmswin.benchmark.work import Repetition, autocast


class SavedBytes:
    """Counts the memory that the tensors saved for backward hold, each storage once and parameters not at all.

    Use :meth:`record` around a forward pass; ``total`` is then the sum in bytes. Works on every device; recomputation
    (``with_cp``) is seen as it is, because what is not saved is not counted.
    """

    def __init__(self, not_counted: Iterable[Tensor] = ()) -> None:
        self._not_counted = {tensor.untyped_storage().data_ptr() for tensor in not_counted}
        self._kept: dict[int, torch.UntypedStorage] = {}

    @property
    def total(self) -> int:
        """Bytes recorded so far."""
        return sum(storage.nbytes() for storage in self._kept.values())

    def record(self) -> AbstractContextManager:
        """While this lasts, what autograd saves is counted."""
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda saved: saved)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._not_counted:
            # Held, so that no later storage can take its address and go uncounted.
            self._kept[storage.data_ptr()] = storage
        return tensor.detach()


def saved_by(forward: Callable[[], object], not_counted: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd holds after ``forward()`` and until backward; ``not_counted`` are the parameters."""
    counter = SavedBytes(not_counted)
    with torch.enable_grad(), counter.record():
        kept = forward()
    del kept
    return counter.total


def saved_in_training(repetition: Repetition) -> int | None:
    """What a training step of the work's first size keeps for backward; None for inference and compiled code."""
    model, work = repetition.model, repetition.work
    if work.mode != 'training' or isinstance(model, torch._dynamo.OptimizedModule):
        return None
    with autocast(work):
        return saved_by(lambda: model(repetition.images[0]), model.parameters())
