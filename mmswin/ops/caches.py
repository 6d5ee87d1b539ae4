"""What is kept between calls: tensors that hold for any later call, and locks that hold after a fork."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import wraps
from threading import Lock
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec('P')
Value = TypeVar('Value', bound=Tensor | tuple[Tensor, ...])

_clear_functions: list[Callable[[], None]] = []


def register_cache(clear: Callable[[], None]) -> None:
    """Have :func:`clear_caches` call ``clear``."""
    _clear_functions.append(clear)


def clear_caches() -> None:
    """Drop everything that :mod:`mmswin.ops` keeps between calls, to give back its memory."""
    for clear in _clear_functions:
        clear()


def is_functorch(x: Tensor) -> bool:
    """Whether a tensor is one of a transform of torch.func, which ends."""
    return getattr(getattr(torch._C, '_functorch', None), 'is_functorch_wrapped_tensor', lambda x: False)(x)


def lru_cache_tensors(max_bytes: int) -> Callable[[Callable[P, Value]], Callable[P, Value]]:
    """Keep what a function of hashable arguments returns, the least recently used going first.

    Real tensors alone are kept: no fake ones, none of a transform of torch.func. The function runs outside of inference
    mode: tensors made in there could not be used in a later training step.

    Args:
        max_bytes: Of all that is kept of this function; what is larger alone is made again each time.
    """

    def decorate(function: Callable[P, Value]) -> Callable[P, Value]:
        values: OrderedDict[Hashable, Value] = OrderedDict()
        lock = ForkSafeLock()

        def size(value: Value) -> int:
            return sum(t.nbytes for t in (value if isinstance(value, tuple) else (value,)))

        @wraps(function)
        def get(*key: P.args, **_: P.kwargs) -> Value:
            with lock:
                if key in values:
                    values.move_to_end(key)
                    return values[key]
            with torch.inference_mode(False):
                value = function(*key)
            tensors = value if isinstance(value, tuple) else (value,)
            if all(type(t) is Tensor and not is_functorch(t) for t in tensors) and size(value) <= max_bytes:
                with lock:
                    values[key] = value
                    while sum(map(size, values.values())) > max_bytes:
                        values.popitem(last=False)
            return value

        def clear() -> None:
            with lock:
                values.clear()

        register_cache(clear)
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
