"""The types beyond tensors that a training checkpoint of mmengine holds, for torch's safe (weights-only) loading.

From torch 2.6 on ``torch.load`` reads tensors and plain containers only and refuses every other type, unless it is on
a list of safe ones. mmengine 0.10.7 saves its log buffers, which hold numpy arrays, and thus cannot resume from its own
checkpoints. :func:`allow` adds just these, none of which runs code of the file's choosing:

* ``mmengine.logging.HistoryBuffer``: two arrays and a length;
* ``getattr``, replaced by a function that returns the statistics of ``HistoryBuffer`` (min, max, current, mean and
  registered ones) and nothing else: pickle names methods in this way;
* numpy's ``ndarray``, ``dtype``, its number types and the two functions that rebuild arrays and scalars.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

try:
    from numpy._core import multiarray
except ImportError:  # numpy < 1.26 and early 1.26
    from numpy.core import multiarray


def _history_statistic(owner: Any, name: str) -> Callable:
    """What ``getattr`` means inside a checkpoint: a method that ``HistoryBuffer`` has registered as a statistic."""
    if owner is not HistoryBuffer or name not in _STATISTICS | set(HistoryBuffer._statistics_methods):
        raise pickle.UnpicklingError(f'the file asks for attribute {name!r} of {owner!r}, which is not a log statistic')
    return getattr(HistoryBuffer, name)


# numpy 2 moved the module; files of either numpy must load under the other.
_REBUILDERS: list[tuple[Callable, str]] = [
    (getattr(multiarray, name), f'numpy.{core}.multiarray.{name}')
    for core in ('core', '_core')
    for name in ('_reconstruct', 'scalar')
]
_DTYPES = [type(np.dtype(kind)) for kind in '?bBhHiIlLqQefdFD']
_STATISTICS = frozenset({'min', 'max', 'current', 'mean'})
SAFE_GLOBALS: list = [
    HistoryBuffer,
    (_history_statistic, 'builtins.getattr'),
    np.ndarray,
    np.dtype,
    *dict.fromkeys(_DTYPES),
    *_REBUILDERS,
]


# Before that torch loads unsafely by default, and its list of safe types takes no names, or is not there at all.
LISTS_NAMES = torch.__version__ >= torch.torch_version.TorchVersion('2.6')


def allow() -> None:
    """Put :data:`SAFE_GLOBALS` on torch's list; does nothing on torch < 2.6."""
    if LISTS_NAMES:
        torch.serialization.add_safe_globals(SAFE_GLOBALS)


def load(path: str | os.PathLike, map_location: Any) -> Any:
    """``torch.load`` of tensors, plain containers and :data:`SAFE_GLOBALS`, on any torch.

    Raises:
        pickle.UnpicklingError: The file needs another type.
    """
    if LISTS_NAMES:
        allow()
        return torch.load(path, map_location=map_location, weights_only=True)
    return torch.load(path, map_location=map_location, weights_only=False, pickle_module=RESTRICTED_PICKLE)


def _names() -> dict[str, Any]:
    """All that may be named in a file: what torch's own safe loading admits, and the above."""
    from torch._weights_only_unpickler import _get_allowed_globals

    ours = [entry if isinstance(entry, tuple) else (entry, f'{entry.__module__}.{entry.__qualname__}')
            for entry in SAFE_GLOBALS]  # fmt: skip
    return {**_get_allowed_globals(), **{name: value for value, name in ours}}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        allowed = _names()
        if full not in allowed:
            raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {full} is not among the safe types')
        return allowed[full]


RESTRICTED_PICKLE = SimpleNamespace(
    __name__='restricted_pickle',
    Unpickler=_RestrictedUnpickler,
    load=lambda file, **kwargs: _RestrictedUnpickler(file, **kwargs).load(),
)
