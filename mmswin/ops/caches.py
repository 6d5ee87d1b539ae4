"""What is kept between calls: tensors that hold for any later call, and locks that hold after a fork."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from threading import Lock
from typing import TypeVar

import torch
from torch import Tensor

Made = TypeVar('Made', Tensor, tuple[Tensor, ...])


def lasts(*tensors: Tensor) -> bool:
    """Whether tensors are real ones: not fake, and not of a transform of torch.func, which ends."""
    return all(type(t) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(t) for t in tensors)


def kept(count: int) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Keep what a function of hashable arguments made for the ``count`` arguments last used, if it :func:`lasts`.

    It runs outside of inference mode: tensors made in there could not be used in a later training step.
    """

    def decorate(make: Callable[..., Made]) -> Callable[..., Made]:
        values: OrderedDict[Hashable, Made] = OrderedDict()
        lock = ForkSafeLock()

        @wraps(make)
        def get(*key: Hashable) -> Made:
            with lock:
                if key in values:
                    values.move_to_end(key)
                    return values[key]
            with torch.inference_mode(False):
                made = make(*key)
            if lasts(*made if isinstance(made, tuple) else (made,)):
                with lock:
                    values[key] = made
                    if len(values) > count:
                        values.popitem(last=False)
            return made

        get.clear = values.clear
        return get

    return decorate


class ForkSafeLock:
    """A lock that is free in a process that forks while another thread holds it, and never released there."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, 'register_at_fork'):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
