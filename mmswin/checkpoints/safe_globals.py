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

import pickle
from collections.abc import Callable
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


def allow() -> None:
    """Put :data:`SAFE_GLOBALS` on torch's list; does nothing on torch < 2.6, which does not load safely by default."""
    if torch.__version__ >= torch.torch_version.TorchVersion('2.6'):
        torch.serialization.add_safe_globals(SAFE_GLOBALS)
