"""The types beyond tensors that training checkpoints hold, for torch's safe (weights-only) loading.

From torch 2.6 on ``torch.load`` reads tensors and plain containers only and refuses every other type, unless it is on
a list of safe ones. mmengine 0.10.7 saves its log buffers, which hold numpy arrays, and thus cannot resume from its own
checkpoints. :func:`allow` adds just what they need. Where the type itself could do more than hold numbers, its name
stands for a function of ours that cannot:

* ``mmengine.logging.HistoryBuffer``: two arrays and a length;
* ``getattr``: returns the statistics of ``HistoryBuffer`` (min, max, current, mean) and nothing else; pickle names
  methods in this way;
* ``numpy.dtype``: the dtypes of numbers only, and those that cannot be changed. A dtype that a file may fill in can be
  made to take any bytes for the address of an object;
* ``bytes``: the empty string of bytes, which empty arrays hold;
* numpy's functions that rebuild arrays and scalars: empty arrays of bytes, whose numbers follow, and numbers.

Programs, and the fork onedl-mmengine while it loads, put numpy's own types on the same list, and of two entries for one
name torch takes either. So each of the above works with numpy's own in place of any other.

Other training scripts keep their configuration beside the weights. :func:`load` takes it for a dictionary; nothing of
the libraries that made it is imported:

* ``yacs.config.CfgNode`` (the authors', SimMIM, MoBY): an ``OrderedDict``, torch's own loading fills no other;
* ``argparse.Namespace`` (DeiT, MAE, timm): :class:`Options`.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

from mmswin.checkpoints.pickle_names import NUMBER_DTYPES, STATISTICS

try:
    from numpy._core import multiarray
except ImportError:  # numpy < 1.26 and early 1.26
    from numpy.core import multiarray


def _refuse(what: str) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f'Unsupported global: GLOBAL {what} is not among the safe types')


class _Array(np.ndarray):
    """What ``numpy.ndarray`` means inside a checkpoint: an argument of :func:`_empty_array`, not a class to be called.

    A subclass, since numpy's own ``_reconstruct`` may be on torch's list beside ours, which makes arrays of it then.
    """

    def __new__(cls, *_: Any) -> _Array:
        raise _refuse('numpy.ndarray, called')

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _history_statistic(owner: Any, name: str) -> Callable:
    """What ``getattr`` means inside a checkpoint: a method that ``HistoryBuffer`` has registered as a statistic."""
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f'the file asks for attribute {name!r} of {owner!r}, which is not a log statistic')
    return getattr(HistoryBuffer, name)


def _number_dtype(spec: str, *_: Any) -> np.dtype:
    """What ``numpy.dtype`` means inside a checkpoint: numpy's own dtype of a number, whose state cannot be set."""
    if spec not in NUMBER_DTYPES:
        raise _refuse(f'numpy.dtype({spec!r})')
    return np.dtype(spec)


def _empty_array(cls: Any, shape: tuple, _: Any) -> np.ndarray:
    if cls not in (_Array, np.ndarray) or shape != (0,):
        raise _refuse('numpy.core.multiarray._reconstruct')
    return np.ndarray((0,), 'b')


def _number(dtype: Any, content: bytes) -> np.generic:
    if not isinstance(dtype, np.dtype) or dtype.str[1:] not in NUMBER_DTYPES:
        raise _refuse(f'numpy.dtype({dtype!r})')
    return multiarray.scalar(dtype, content)


def _empty_bytes() -> bytes:
    """What ``bytes`` means inside a checkpoint: none at all, as an empty array has them."""
    return b''


class Options(dict):
    """What ``argparse.Namespace`` means inside a checkpoint: a dictionary of its attributes, saved as a plain one."""

    __slots__ = ()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)

    def __reduce__(self) -> tuple:
        return OrderedDict, (), None, None, iter(self.items())


# numpy 2 moved the module; files of either numpy must load under the other.
_REBUILDERS: list[tuple[Callable, str]] = [
    (function, f'numpy.{core}.multiarray.{name}')
    for core in ('core', '_core')
    for name, function in (('_reconstruct', _empty_array), ('scalar', _number))
]
# torch sets the state of objects of these types. No file can name them so: a name ends where its line ends.
_FILLED: list[tuple[type, str]] = [
    (cls, f'{cls.__name__}\n') for cls in dict.fromkeys([np.ndarray, *(type(np.dtype(d)) for d in NUMBER_DTYPES)])
]
SAFE_GLOBALS: list = [
    HistoryBuffer,
    (_history_statistic, 'builtins.getattr'),
    (_empty_bytes, 'builtins.bytes'),
    (_Array, 'numpy.ndarray'),
    (_number_dtype, 'numpy.dtype'),
    *_REBUILDERS,
    *_FILLED,
]
# Not on torch's list for good: a program that has put argparse.Namespace itself there must find that in its files.
CONFIGURATIONS: list = [(OrderedDict, 'yacs.config.CfgNode'), (Options, 'argparse.Namespace')]
_ADMITTING = threading.Lock()


# Before that torch loads unsafely by default, and its list of safe types takes no names, or is not there at all.
LISTS_NAMES = torch.__version__ >= torch.torch_version.TorchVersion('2.6')


def allow() -> None:
    """Put :data:`SAFE_GLOBALS` on torch's list; does nothing on torch < 2.6."""
    if LISTS_NAMES:
        torch.serialization.add_safe_globals(SAFE_GLOBALS)


def load(file: BinaryIO, map_location: Any) -> Any:
    """``torch.load`` of tensors, plain containers, :data:`SAFE_GLOBALS` and :data:`CONFIGURATIONS`, on any torch.

    Args:
        file: The opened checkpoint, gone through by :func:`mmswin.checkpoints.vetting.vet` before.
        map_location: As for ``torch.load``.

    Raises:
        pickle.UnpicklingError: The file needs another type.
    """
    if LISTS_NAMES:
        allow()
        with _ADMITTING, torch.serialization.safe_globals(CONFIGURATIONS):
            return torch.load(file, map_location=map_location, weights_only=True)
    return torch.load(file, map_location=map_location, weights_only=False, pickle_module=RESTRICTED_PICKLE)


@lru_cache(maxsize=1)
def _names() -> dict[str, Any]:
    """All that may be named in a file: what torch's own safe loading admits, and the above."""
    from torch._weights_only_unpickler import _get_allowed_globals

    ours = [entry if isinstance(entry, tuple) else (entry, f'{entry.__module__}.{entry.__qualname__}')
            for entry in [*SAFE_GLOBALS, *CONFIGURATIONS]]  # fmt: skip
    return {**_get_allowed_globals(), **{name: value for value, name in ours}}


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        if full not in _names():
            raise _refuse(full)
        return _names()[full]


RESTRICTED_PICKLE = SimpleNamespace(
    __name__='restricted_pickle',
    Unpickler=_RestrictedUnpickler,
    load=lambda file, **kwargs: _RestrictedUnpickler(file, **kwargs).load(),
)
