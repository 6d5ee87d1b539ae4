"""A dry run of the pickle inside a checkpoint: what it names, and whether what it declares is there.

:func:`scan` goes through the pickle's instructions with placeholders in place of objects. It calls nothing, builds no
tensor, and stops at the first instruction that a file of weights does not need. Thus a file is judged before anything
of it is built: names that are not on the list, tensors that reach beyond their storage, storages larger than the file,
and a few bytes that would swell to gigabytes.

The instructions and names are those of ``torch.save`` with its default pickle protocol 2; torch's own weights-only
unpickler knows the same instructions and more names (sparse, quantised and nested tensors, tensor subclasses).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, NamedTuple

import torch

# Far more than a training checkpoint of the largest detectors has (some 200 000); two to three seconds to go through.
MAX_INSTRUCTIONS = 2_000_000
# What may be built: so many bytes beside 16 times the file's own. A placeholder object counts as half a kilobyte.
FREE_BYTES = 1 << 28
OBJECT_BYTES = 512
# Hashes of larger integers repeat, and a dictionary full of equal hashes takes hours to fill.
_MAX_KEY = 2**61 - 1

HISTORY_BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'
NUMBER_DTYPES = frozenset(f'{kind}{size}' for kind, sizes in
                          {'b': '1', 'i': '1248', 'u': '1248', 'f': '248'}.items() for size in sizes) | {'c8', 'c16'}
STATISTICS = frozenset({'min', 'max', 'current', 'mean'})
_STORAGE_BYTES = {'Double': 8, 'Float': 4, 'Half': 2, 'BFloat16': 2, 'Long': 8, 'Int': 4, 'Short': 2, 'Char': 1,
                  'Byte': 1, 'Bool': 1, 'ComplexDouble': 16, 'ComplexFloat': 8}  # fmt: skip
STORAGES: dict[str, int] = {'torch.storage.UntypedStorage': 1} | {
    f'{module}.{kind}Storage': size for kind, size in _STORAGE_BYTES.items() for module in ('torch', 'torch.cuda')
}
DTYPES: dict[str, int] = {
    f'torch.{name}': value.itemsize for name, value in vars(torch).items() if isinstance(value, torch.dtype)
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
class _Bytes:
    length: int


@dataclass(frozen=True)
class _Dtype:
    itemsize: int


@dataclass
class _Object:
    """Something built; ``size`` counts the entries of a mapping."""

    kind: str
    size: int = 0


_TENSOR, _OTHER = _Object('tensor'), _Object('other')
StorageOf = Callable[[tuple], Storage]


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_counts(values: Any) -> bool:
    return type(values) is tuple and all(_is_count(value) for value in values)


class _Machine:
    """The stack machine of pickle, on placeholders."""

    def __init__(self, storage_of: StorageOf, file_size: int) -> None:
        self.storage_of = storage_of
        self.budget = FREE_BYTES + 16 * file_size
        self.logical = FREE_BYTES + 16 * file_size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def spend(self, amount: int) -> None:
        self.budget -= amount
        if self.budget < 0:
            raise PickleRefused('would swell to many times its size when it is read')

    def pop_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def tail(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError('stack is empty')
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    # ------------------------------------------------------------------ instructions

    def run(self, file: BinaryIO) -> Any:
        """Go through one pickle and return the placeholder of what it holds."""
        for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_INSTRUCTIONS:
                raise PickleRefused(f'has more than {MAX_INSTRUCTIONS} entries, which no file of weights has')
            handler = _HANDLERS.get(opcode.name)
            if handler is None:
                raise UnusualPickle(
                    f'is written with the pickle instruction {opcode.name}, which torch.save does not use by default: '
                    'load it where you made it and save its weights with torch.save(weights, FILE)')
            handler(self, argument)
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def proto(self, version: int) -> None:
        if version not in (2, 3):
            raise UnusualPickle(f'is written with pickle protocol {version}: load it where you made it and save its '
                                'weights with torch.save(weights, FILE), whose protocol is 2')

    def name(self, argument: str) -> None:
        full = argument.replace(' ', '.', 1)
        full = Name(full.replace('__builtin__.', 'builtins.', 1) if full.startswith('__builtin__.') else full)
        if full not in _FUNCTIONS and full not in STORAGES and full not in DTYPES and full not in _CONSTANTS:
            raise UnsafeName(full.removeprefix('builtins.'))
        self.push(full)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        self.push(self.memo[index])

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def tuple_of(self, count: int | None) -> None:
        self.push(tuple(self.pop_mark() if count is None else self.tail(count)))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise PickleRefused('is damaged: it appends to what is no list')
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, _Object) or target.kind not in ('dict', 'OrderedDict', 'Counter'):
            raise PickleRefused('is damaged: it sets entries of what is no dictionary')
        self.check_keys(items[::2])
        target.size += len(items) // 2

    def check_keys(self, keys: list[Any]) -> None:
        for key in keys:
            if not isinstance(key, (str, float, _Bytes, type(None))) and not (
                isinstance(key, int) and abs(key) < _MAX_KEY
            ):
                raise PickleRefused('has a dictionary whose keys are neither names nor numbers')

    def storage(self, _: Any) -> None:
        identity = self.stack.pop()
        if type(identity) is not tuple or not identity or identity[0] != 'storage':
            raise PickleRefused('is damaged: a reference to what is no storage of a tensor')
        self.push(self.storage_of(identity))

    def new(self, _: Any) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if cls != HISTORY_BUFFER or not isinstance(cls, Name) or arguments != ():
            raise UnsafeName(f'{cls if isinstance(cls, Name) else "object"}.__new__')
        self.spend(OBJECT_BYTES)
        self.push(_Object('HistoryBuffer'))

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        checker = _FUNCTIONS.get(function) if isinstance(function, Name) else None
        if checker is None:
            raise UnsafeName(function if isinstance(function, Name) else 'something other than a known function')
        if type(arguments) is not tuple:
            raise PickleRefused('is damaged: a call without arguments')
        self.spend(OBJECT_BYTES)
        self.push(checker(self, *arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        kind = target.kind if isinstance(target, _Object) else 'dtype' if isinstance(target, _Dtype) else ''
        if kind in ('OrderedDict', 'HistoryBuffer'):
            if not isinstance(state, _Object) or state.kind != 'dict':
                raise PickleRefused(f'is damaged: the state of a {kind} is no dictionary')
            self.spend(100 * state.size)
        elif kind == 'dtype':
            # '>', big-endian: torch would keep the bytes as they are.
            if type(state) is not tuple or len(state) < 5 or state[1] not in ('<', '|', '=') or any(state[2:5]):
                raise PickleRefused('holds a numpy array whose numbers are of an unusual kind')
        elif kind == 'array':
            self.array(state)
        else:
            raise UnsafeName(f'the state of {kind or "an unknown object"}')

    def array(self, state: Any) -> None:
        if type(state) is not tuple or len(state) != 5 or not _are_counts(state[1]):
            raise PickleRefused('holds a damaged numpy array')
        dtype, content = state[2], state[4]
        if not isinstance(dtype, _Dtype) or not isinstance(content, _Bytes):
            raise PickleRefused('holds a numpy array of objects, not of numbers')
        if prod(state[1]) * dtype.itemsize != content.length:
            raise PickleRefused('holds a numpy array that declares another size than it has')
        self.spend(content.length)

    # ------------------------------------------------------------------ functions that may be named

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> _Object:
        return self.view(storage, offset, size, stride, None, rest)

    def tensor_v3(self, storage: Any, offset: Any, size: Any, stride: Any, grad: Any, hooks: Any, dtype: Any,
                  *rest: Any) -> _Object:
        if dtype not in DTYPES or not isinstance(dtype, Name):
            raise PickleRefused('is damaged: a tensor of an unknown kind of numbers')
        return self.view(storage, offset, size, stride, DTYPES[dtype], (grad, hooks, *rest))

    def view(self, storage: Any, offset: Any, size: Any, stride: Any, itemsize: int | None, rest: tuple) -> _Object:
        """Check that a tensor lies within its storage."""
        if not isinstance(storage, Storage) or not _is_count(offset) or not _are_counts(size) or not _are_counts(
            stride
        ) or len(size) != len(stride):
            raise PickleRefused('is damaged: a tensor without a proper size')
        if len(rest) > 2 and rest[2] is not None:
            raise UnsafeName('a conjugate or negative view of a tensor')
        itemsize = itemsize or storage.itemsize
        last = offset + sum((extent - 1) * step for extent, step in zip(size, stride))
        if 0 not in size and (last + 1) * itemsize > storage.nbytes:
            raise PickleRefused(f'is damaged: a tensor of size {_shown(size)} does not fit into its '
                                f'{storage.nbytes} bytes')
        self.logical -= prod(size) * itemsize
        if self.logical < 0:
            raise PickleRefused('would swell to many times its size when it is read')
        return _TENSOR

    def parameter(self, data: Any, *_: Any) -> _Object:
        if data is not _TENSOR:
            raise PickleRefused('is damaged: a parameter that is no tensor')
        return _TENSOR

    def mapping(self, kind: str, items: Any = ()) -> _Object:
        if isinstance(items, _Object) and items.kind == 'dict':
            size = items.size
        elif type(items) in (list, tuple):
            pairs = [pair for pair in items if type(pair) in (list, tuple) and len(pair) == 2]
            if len(pairs) < len(items):
                raise PickleRefused('is damaged: a dictionary without keys')
            self.check_keys([pair[0] for pair in pairs])
            size = len(items)
        else:
            raise PickleRefused('is damaged: a dictionary of unknown content')
        self.spend(100 * size)
        return _Object(kind, size)

    def encode(self, text: Any, encoding: Any = None) -> _Bytes:
        if type(text) is not str or encoding not in ('latin1', 'latin-1'):
            raise UnsafeName('_codecs.encode with an unusual encoding')
        self.spend(len(text))
        return _Bytes(len(text))

    def byte_array(self, content: Any = '', encoding: Any = 'latin-1') -> _Bytes:
        if isinstance(content, _Bytes) and encoding == 'latin-1':
            self.spend(content.length)
            return content
        if not isinstance(content, str):
            raise UnsafeName('bytearray of a number')
        return self.encode(content, encoding)

    def plain(self, *arguments: Any) -> _Object:
        """A size, a device, a complex number, ...: of numbers, names and a flat tuple or list of them."""
        for argument in arguments:
            items = argument if type(argument) in (list, tuple) else [argument]
            if not all(isinstance(item, (str, int, float, type(None))) for item in items):
                raise PickleRefused('is damaged: a plain value made of something else')
            self.spend(8 * len(items))
        return _OTHER

    def size(self, extents: Any = ()) -> tuple:
        self.plain(extents)
        if not _are_counts(extents):
            raise PickleRefused('is damaged: a size that is no tuple of numbers')
        return extents

    def a_set(self, items: Any = ()) -> _Object:
        self.plain(items)
        self.check_keys(list(items) if type(items) in (list, tuple) else [items])
        return _OTHER

    def dtype(self, spec: Any, *_: Any) -> _Dtype:
        if spec not in NUMBER_DTYPES:
            raise UnsafeName(f'numpy.dtype({_shown(spec)})')
        return _Dtype(int(spec[1:]))

    def new_array(self, cls: Any, shape: Any, kind: Any) -> _Object:
        if cls != 'numpy.ndarray' or shape != (0,) or kind not in ('b', _Bytes(1)):
            raise UnsafeName('numpy._core.multiarray._reconstruct of something other than an empty array')
        return _Object('array')

    def scalar(self, dtype: Any, content: Any) -> _Object:
        if not isinstance(dtype, _Dtype) or content != _Bytes(dtype.itemsize):
            raise PickleRefused('is damaged: a number of another size than it declares')
        return _OTHER

    def statistic(self, owner: Any, name: Any) -> _Object:
        if owner != HISTORY_BUFFER or not isinstance(owner, Name) or name not in STATISTICS:
            raise UnsafeName(f'getattr({_shown(owner)}, {_shown(name)})')
        return _OTHER


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, (str, int, tuple)) else type(value).__name__
    return text if len(text) <= 80 else text[:77] + '...'


# Full names: the check of a call's arguments.
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    'torch._utils._rebuild_tensor': _Machine.tensor,
    'torch._utils._rebuild_tensor_v2': _Machine.tensor,
    'torch._utils._rebuild_tensor_v3': _Machine.tensor_v3,
    'torch._utils._rebuild_parameter': _Machine.parameter,
    'torch.Size': _Machine.size,
    'torch.device': _Machine.plain,
    'torch.serialization._get_layout': _Machine.plain,
    'collections.OrderedDict': lambda machine, *items: machine.mapping('OrderedDict', *items),
    'collections.Counter': lambda machine, *items: machine.mapping('Counter', *items),
    '_codecs.encode': _Machine.encode,
    'builtins.bytearray': _Machine.byte_array,
    'builtins.complex': _Machine.plain,
    'builtins.set': _Machine.a_set,
    'builtins.getattr': _Machine.statistic,
    'numpy.dtype': _Machine.dtype,
    'numpy.core.multiarray._reconstruct': _Machine.new_array,
    'numpy._core.multiarray._reconstruct': _Machine.new_array,
    'numpy.core.multiarray.scalar': _Machine.scalar,
    'numpy._core.multiarray.scalar': _Machine.scalar,
}
# Named, but never called.
_CONSTANTS = frozenset({HISTORY_BUFFER, 'numpy.ndarray'})

_HANDLERS: Mapping[str, Callable[[_Machine, Any], Any]] = {
    'PROTO': _Machine.proto,
    'STOP': lambda machine, _: None,
    'GLOBAL': _Machine.name,
    'REDUCE': _Machine.reduce,
    'NEWOBJ': _Machine.new,
    'BUILD': _Machine.build,
    'BINPERSID': _Machine.storage,
    'MARK': _Machine.mark,
    **dict.fromkeys(('BINPUT', 'LONG_BINPUT'), _Machine.put),
    **dict.fromkeys(('BINGET', 'LONG_BINGET'), _Machine.get),
    **dict.fromkeys(('BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE'), _Machine.push),
    'SHORT_BINSTRING': _Machine.push,
    'NONE': lambda machine, _: machine.push(None),
    'NEWTRUE': lambda machine, _: machine.push(True),
    'NEWFALSE': lambda machine, _: machine.push(False),
    'EMPTY_TUPLE': lambda machine, _: machine.push(()),
    'EMPTY_LIST': lambda machine, _: machine.push([]),
    'EMPTY_DICT': lambda machine, _: machine.push(_Object('dict')),
    'EMPTY_SET': lambda machine, _: machine.push(_OTHER),
    'TUPLE': lambda machine, _: machine.tuple_of(None),
    'TUPLE1': lambda machine, _: machine.tuple_of(1),
    'TUPLE2': lambda machine, _: machine.tuple_of(2),
    'TUPLE3': lambda machine, _: machine.tuple_of(3),
    'APPEND': lambda machine, _: machine.append([machine.stack.pop()]),
    'APPENDS': lambda machine, _: machine.append(machine.pop_mark()),
    'SETITEM': lambda machine, _: machine.set_items(machine.tail(2)),
    'SETITEMS': lambda machine, _: machine.set_items(machine.pop_mark()),
}


def scan(file: BinaryIO, storage_of: StorageOf, file_size: int) -> Any:
    """Go through one pickle without building anything.

    Args:
        file: Positioned at the pickle; afterwards just behind it.
        storage_of: Given a storage's identity in the file, says how large it is. Raises PickleRefused.
        file_size: Bytes of the whole checkpoint; what would be built must be in proportion.

    Returns:
        A placeholder of what the pickle holds; numbers, strings, tuples and lists are themselves.

    Raises:
        UnsafeName: A type or function is needed that is not on the list.
        PickleRefused: It is damaged, or declares what is not there.
    """
    try:
        return _Machine(storage_of, file_size).run(file)
    except PickleRefused:
        raise
    except Exception as error:  # whatever a random byte leads to
        raise PickleRefused(f'is damaged ({type(error).__name__} in its list of tensors)') from error
