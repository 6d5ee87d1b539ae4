"""What the pickle inside a checkpoint may name, and with which arguments: the list of what is let in.

Placeholders stand for the objects, see :mod:`mmswin.checkpoints.pickle_scan`. The list is narrower than that of torch's
own weights-only loading: no sparse, quantised, nested or meta tensors, and no tensor subclasses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import torch

# What may be built: so many bytes beside 16 times the file's own. A placeholder object counts as half a kilobyte.
FREE_BYTES = 1 << 28
OBJECT_BYTES = 512
# Hashes of larger integers repeat, and a dictionary full of equal hashes takes hours to fill.
_MAX_KEY = 2**61 - 1

HISTORY_BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'
# Made empty and filled; what they stand for is said in :mod:`mmswin.checkpoints.safe_globals`.
FILLED = {HISTORY_BUFFER: 'HistoryBuffer', 'yacs.config.CfgNode': 'CfgNode', 'argparse.Namespace': 'Namespace'}
NUMBER_DTYPES = frozenset(
    f'{kind}{size}' for kind, sizes in {'b': '1', 'i': '1248', 'u': '1248', 'f': '248'}.items() for size in sizes
) | {'c8', 'c16'}
STATISTICS = frozenset({'min', 'max', 'current', 'mean'})
_STORAGE_BYTES = {'Double': 8, 'Float': 4, 'Half': 2, 'BFloat16': 2, 'Long': 8, 'Int': 4, 'Short': 2, 'Char': 1,
                  'Byte': 1, 'Bool': 1, 'ComplexDouble': 16, 'ComplexFloat': 8}  # fmt: skip
STORAGES: dict[str, int] = {'torch.storage.UntypedStorage': 1} | {
    f'{module}.{kind}Storage': size for kind, size in _STORAGE_BYTES.items() for module in ('torch', 'torch.cuda')
}
# No quantised ones and none of less than a byte: most of torch cannot compute with them.
_PLAIN_DTYPE = re.compile(r'b?float(16|32|64|8_\w+)|u?int(8|16|32|64)|bool|complex(32|64|128)')
DTYPES: dict[str, int] = {
    f'torch.{name}': value.itemsize
    for name, value in vars(torch).items()
    if isinstance(value, torch.dtype) and _PLAIN_DTYPE.fullmatch(name)
}


class PickleRefused(Exception):
    """The pickle is damaged or declares what is not there; the message completes the sentence 'the checkpoint ...'."""


class UnsafeName(PickleRefused):
    """The pickle names a type or function that is not on the list."""


class UnusualPickle(PickleRefused):
    """The pickle is written in a way that torch.save does not use unless it is told to."""


class Name(str):
    """A type or function that the pickle names."""


class Storage(NamedTuple):
    """The numbers of one or several tensors; where they lie in the file is the container's business."""

    key: str
    nbytes: int
    itemsize: int


@dataclass(frozen=True)
class Bytes:
    """A string of bytes, or an array of them."""

    length: int


@dataclass(frozen=True)
class Dtype:
    """A kind of numbers of numpy."""

    itemsize: int


@dataclass(eq=False)
class Object:
    """Something built; ``entries`` are the keys and values of a mapping, in turn."""

    kind: str
    entries: list[Any] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.entries) // 2


TENSOR, OTHER = Object('tensor'), Object('other')


class Budget:
    """How much may be built for a file of a certain size."""

    def __init__(self, file_size: int) -> None:
        self.built = self.logical = FREE_BYTES + 16 * file_size

    def spend(self, amount: int) -> None:
        """Count bytes that are built."""
        self.built -= amount
        self._check(self.built)

    def expand(self, amount: int) -> None:
        """Count bytes that a tensor would take if each of its elements were stored."""
        self.logical -= amount
        self._check(self.logical)

    def _check(self, left: int) -> None:
        if left < 0:
            raise PickleRefused('would swell to many times its size when it is read')


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_counts(values: Any) -> bool:
    return type(values) is tuple and all(_is_count(value) for value in values)


def check_keys(keys: list[Any]) -> None:
    """Make sure that a dictionary's keys are ones whose hashes cannot be made equal."""
    for key in keys:
        if not isinstance(key, (str, float, Bytes, type(None))) and not (isinstance(key, int) and abs(key) < _MAX_KEY):
            raise PickleRefused('has a dictionary whose keys are neither names nor numbers')


def check_array(budget: Budget, state: Any) -> None:
    """Check the state that an array is filled with."""
    if type(state) is not tuple or len(state) != 5 or not _are_counts(state[1]):
        raise PickleRefused('holds a damaged numpy array')
    dtype, content = state[2], state[4]
    if not isinstance(dtype, Dtype) or not isinstance(content, Bytes):
        raise PickleRefused('holds a numpy array of objects, not of numbers')
    if prod(state[1]) * dtype.itemsize != content.length:
        raise PickleRefused('holds a numpy array that declares another size than it has')
    budget.spend(content.length)


def _tensor(budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Object:
    return _view(budget, storage, offset, size, stride, None, rest)


def _tensor_v3(
    budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any, *rest: Any
) -> Object:
    if dtype not in DTYPES or not isinstance(dtype, Name):
        raise PickleRefused('is damaged: a tensor of an unknown kind of numbers')
    return _view(budget, storage, offset, size, stride, DTYPES[dtype], (grad, hooks, *rest))


def _view(
    budget: Budget, storage: Any, offset: Any, size: Any, stride: Any, itemsize: int | None, rest: tuple
) -> Object:
    """Check that a tensor lies within its storage."""
    if (
        not isinstance(storage, Storage)
        or not _is_count(offset)
        or not _are_counts(size)
        or not _are_counts(stride)
        or len(size) != len(stride)
    ):
        raise PickleRefused('is damaged: a tensor without a proper size')
    if len(rest) > 2 and rest[2] is not None:
        raise UnsafeName('a conjugate or negative view of a tensor')
    itemsize = itemsize or storage.itemsize
    last = offset + sum((extent - 1) * step for extent, step in zip(size, stride))
    if 0 not in size and (last + 1) * itemsize > storage.nbytes:
        raise PickleRefused(f'is damaged: a tensor of size {_shown(size)} does not fit into its {storage.nbytes} bytes')
    budget.expand(prod(size) * itemsize)
    return TENSOR


def _parameter(budget: Budget, data: Any, *_: Any) -> Object:
    if data is not TENSOR:
        raise PickleRefused('is damaged: a parameter that is no tensor')
    return TENSOR


def _mapping(budget: Budget, kind: str, items: Any = ()) -> Object:
    if isinstance(items, Object) and items.kind == 'dict':
        entries = items.entries
    elif type(items) in (list, tuple):
        pairs = [pair for pair in items if type(pair) in (list, tuple) and len(pair) == 2]
        if len(pairs) < len(items):
            raise PickleRefused('is damaged: a dictionary without keys')
        check_keys([pair[0] for pair in pairs])
        entries = [part for pair in pairs for part in pair]
    else:
        raise PickleRefused('is damaged: a dictionary of unknown content')
    budget.spend(50 * len(entries))
    return Object(kind, list(entries))


def _encode(budget: Budget, text: Any, encoding: Any = None) -> Bytes:
    if type(text) is not str or encoding not in ('latin1', 'latin-1'):
        raise UnsafeName('_codecs.encode with an unusual encoding')
    budget.spend(len(text))
    return Bytes(len(text))


def _empty_bytes(budget: Budget, *arguments: Any) -> Bytes:
    if arguments:
        raise UnsafeName('bytes of a number')
    return Bytes(0)


def _byte_array(budget: Budget, content: Any = '', encoding: Any = 'latin-1') -> Bytes:
    if isinstance(content, Bytes) and encoding == 'latin-1':
        budget.spend(content.length)
        return content
    if not isinstance(content, str):
        raise UnsafeName('bytearray of a number')
    return _encode(budget, content, encoding)


def _plain(budget: Budget, *arguments: Any) -> Object:
    """A size, a device, a complex number, ...: of numbers, names and a flat tuple or list of them."""
    for argument in arguments:
        items = argument if type(argument) in (list, tuple) else [argument]
        if not all(isinstance(item, (str, int, float, type(None))) for item in items):
            raise PickleRefused('is damaged: a plain value made of something else')
        budget.spend(8 * len(items))
    return OTHER


def _size(budget: Budget, extents: Any = ()) -> tuple:
    _plain(budget, extents)
    if not _are_counts(extents):
        raise PickleRefused('is damaged: a size that is no tuple of numbers')
    return extents


def _a_set(budget: Budget, items: Any = ()) -> Object:
    _plain(budget, items)
    check_keys(list(items) if type(items) in (list, tuple) else [items])
    return OTHER


def _dtype(budget: Budget, spec: Any, *_: Any) -> Dtype:
    if spec not in NUMBER_DTYPES:
        raise UnsafeName(f'numpy.dtype({_shown(spec)})')
    return Dtype(int(spec[1:]))


def _new_array(budget: Budget, cls: Any, shape: Any, kind: Any) -> Object:
    if cls != 'numpy.ndarray' or shape != (0,) or kind not in ('b', Bytes(1)):
        raise UnsafeName('numpy._core.multiarray._reconstruct of something other than an empty array')
    return Object('array')


def _scalar(budget: Budget, dtype: Any, content: Any) -> Object:
    if not isinstance(dtype, Dtype) or content != Bytes(dtype.itemsize):
        raise PickleRefused('is damaged: a number of another size than it declares')
    return OTHER


def _statistic(budget: Budget, owner: Any, name: Any) -> Object:
    if owner != HISTORY_BUFFER or not isinstance(owner, Name) or name not in STATISTICS:
        raise UnsafeName(f'getattr({_shown(owner)}, {_shown(name)})')
    return Object('log statistic')


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, (str, int, tuple)) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + '...'


# Full names: the check of a call's arguments.
CALLS: Mapping[str, Callable[..., Any]] = {
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _tensor_v3,
    'torch._utils._rebuild_parameter': _parameter,
    'torch.Size': _size,
    'torch.device': _plain,
    'torch.serialization._get_layout': _plain,
    'collections.OrderedDict': lambda budget, *items: _mapping(budget, 'OrderedDict', *items),
    'collections.Counter': lambda budget, *items: _mapping(budget, 'Counter', *items),
    '_codecs.encode': _encode,
    'builtins.bytearray': _byte_array,
    'builtins.bytes': _empty_bytes,
    'builtins.complex': _plain,
    'builtins.set': _a_set,
    'builtins.getattr': _statistic,
    'numpy.dtype': _dtype,
    'numpy.core.multiarray._reconstruct': _new_array,
    'numpy._core.multiarray._reconstruct': _new_array,
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
}
# Named, but never called.
TYPES = frozenset({*FILLED, 'numpy.ndarray'})
