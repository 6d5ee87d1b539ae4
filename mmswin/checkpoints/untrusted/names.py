"""What the pickle inside a checkpoint may name, and what is built for it: the closed list of what is let in.

Each function gets the arguments that the file gives and builds a plain value of ours: a tensor on a storage that was
checked, a number, an array of numbers, a dictionary. Nothing that the file names is imported or called. The list is
narrower than that of torch's weights-only loading: no sparse, quantised, nested or meta tensors, no subclasses.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mmswin.checkpoints.untrusted.other_files import FileRefused, need, unsafe
from mmswin.errors import printable

if TYPE_CHECKING:
    from mmswin.checkpoints.untrusted.machine import Machine

# Hashes of larger integers repeat, and a dictionary full of equal hashes takes hours to fill.
_MAX_KEY = 2**61 - 1
MAX_DIMS = 64
MAX_NAME, MAX_NUMBERS = 1000, 20_000

ARRAY = 'numpy.ndarray'
HISTORY_BUFFER = 'mmengine.logging.history_buffer.HistoryBuffer'
_STATISTICS = ('min', 'max', 'current', 'mean')
# Configurations and options of training scripts, read as dictionaries: made empty, then filled.
CONFIGURATIONS = ('yacs.config.CfgNode', 'argparse.Namespace')
_NUMBERS = frozenset(['b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8', 'c8', 'c16'])
_STORED_DTYPES = {
    'Double': torch.float64, 'Float': torch.float32, 'Half': torch.float16, 'BFloat16': torch.bfloat16,
    'Long': torch.int64, 'Int': torch.int32, 'Short': torch.int16, 'Char': torch.int8, 'Byte': torch.uint8,
    'Bool': torch.bool, 'ComplexDouble': torch.complex128, 'ComplexFloat': torch.complex64,
}  # fmt: skip
# No quantised ones and none of less than a byte: most of torch cannot compute with them.
_PLAIN_DTYPE = re.compile(r'b?float(16|32|64|8_\w+)|u?int(8|16|32|64)|bool|complex(32|64|128)')
DTYPES: dict[str, torch.dtype] = {
    f'torch.{name}': value
    for name, value in vars(torch).items()
    if isinstance(value, torch.dtype) and _PLAIN_DTYPE.fullmatch(name)
}
KINDS: dict[str, torch.dtype] = {'torch.storage.UntypedStorage': torch.uint8} | {
    f'{module}.{name}Storage': dtype for name, dtype in _STORED_DTYPES.items() for module in ('torch', 'torch.cuda')
}


class Name(str):
    """A type or function that the pickle names; saved again it is a text."""

    __slots__ = ()

    def __reduce__(self) -> tuple:
        return str, (str(self),)


@dataclass(eq=False)
class Storage:
    """The numbers of one or several tensors: bytes in memory that are filled from the file."""

    dtype: torch.dtype
    memory: Tensor
    numel: int

    def __reduce__(self) -> tuple:
        return Tensor.clone, (self.memory,)


def is_count(value: Any) -> bool:
    """Whether a value is a number of things that torch could count."""
    return type(value) is int and 0 <= value < 2**63


def are_counts(values: Any) -> bool:
    """Whether values are the extents of a tensor or an array."""
    return isinstance(values, tuple) and len(values) <= MAX_DIMS and all(map(is_count, values))


def check_keys(machine: Machine, keys: Any = ()) -> None:
    """Make sure that keys are ones whose hashes cannot be made equal, nor places in a table be chosen for many."""
    for key in keys:
        if isinstance(key, (str, bytes)):
            need(len(key) <= MAX_NAME, 'has a name that is too long for one')
            continue
        plain = isinstance(key, (float, type(None))) or (isinstance(key, int) and abs(key) < _MAX_KEY)
        need(plain, 'has a dictionary whose keys are neither names nor numbers')
        machine.numbers -= 1
        need(machine.numbers >= 0, f'has more than {MAX_NUMBERS} numbers for keys, which no file of weights has')


# ------------------------------------------------------------------ tensors


def _tensor(
    machine: Machine, storage: Any, offset: Any, size: Any, stride: Any, grad: Any = 0, _: Any = 0, *rest: Any
) -> Tensor:
    """A tensor that lies within its storage; ``rest`` are flags, behind the dtype in the third version."""
    dtype = rest[0] if rest and isinstance(rest[0], torch.dtype) else getattr(storage, 'dtype', None)
    proper = isinstance(storage, Storage) and is_count(offset) and are_counts(size) and are_counts(stride)
    need(proper and len(size) == len(stride), 'is damaged: a tensor without a proper size')
    if rest and rest[-1] and rest[-1] is not dtype:
        raise unsafe('a conjugate or negative view of a tensor')
    tensor = torch.empty(size if 0 in size else 0, dtype=dtype)
    if 0 not in size:
        there = storage.memory.numel()
        last = offset + sum((extent - 1) * step for extent, step in zip(size, stride))
        if (last + 1) * dtype.itemsize > there:
            raise FileRefused(
                f'is damaged: a tensor of size {printable(tuple(size), 80)} does not fit into its {there} bytes'
            )
        machine.spend(prod(size) * dtype.itemsize + 100 * len(size))
        tensor.set_(storage.memory.untyped_storage(), offset, size, stride)
        machine.tensors.append(tensor)
    return tensor.requires_grad_(grad is True and (dtype.is_floating_point or dtype.is_complex))


def _parameter(machine: Machine, data: Any, grad: Any = True, _: Any = None) -> Tensor:
    need(type(data) is Tensor, 'is damaged: a parameter that is no tensor')
    parameter = nn.Parameter(data.detach(), grad is True and (data.is_floating_point() or data.is_complex()))
    machine.tensors.append(parameter)
    return parameter


# ------------------------------------------------------------------ containers and plain values


def _value(make: Callable[..., Any], *types: type, check: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
    """What is made of nothing but arguments of these types."""

    def build(machine: Machine, *arguments: Any) -> Any:
        if not all(type(argument) in types for argument in arguments):
            raise unsafe(f'{make.__name__} of something else')
        check(machine, *arguments)
        machine.spend(sum(100 * len(argument) for argument in arguments if hasattr(argument, '__len__')))
        return make(*arguments)

    return build


def _check_pairs(machine: Machine, items: Any = ()) -> None:
    """Make sure that items are what a dictionary can be made of."""
    if type(items) is not dict:  # whose keys were looked at when it was filled
        pairs = all(type(pair) in (list, tuple) and len(pair) == 2 for pair in items)
        need(pairs, 'is damaged: a dictionary without keys')
        check_keys(machine, (pair[0] for pair in items))


def _encode(machine: Machine, text: Any, encoding: Any = None) -> bytes:
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise unsafe('_codecs.encode with an unusual encoding')
    machine.spend(len(text))
    return text.encode('latin-1')


def _byte_array(machine: Machine, content: Any = b'', encoding: Any = 'latin-1') -> bytearray:
    if not isinstance(content, (bytes, str)):
        raise unsafe('bytearray of a number')
    machine.spend(len(content))
    return bytearray(content if isinstance(content, bytes) else _encode(machine, content, encoding))


# ------------------------------------------------------------------ numpy and mmengine


def _dtype(machine: Machine, spec: Any, *_: Any) -> np.dtype:
    if not isinstance(spec, str) or spec not in _NUMBERS:
        raise unsafe(f'numpy.dtype({printable(spec, 40)})')
    return np.dtype(spec)


def check_dtype(state: Any) -> None:
    """Make sure that the state of a dtype changes nothing: no other order of bytes, no fields."""
    plain = type(state) is tuple and len(state) > 4 and state[1] in ('<', '|', '=') and not any(state[2:5])
    need(plain, 'holds a numpy array whose numbers are of an unusual kind')


def _numbers(machine: Machine, content: Any, dtype: Any, shape: Any) -> Any:
    """The bytes of an array's numbers; those that Python 2 wrote are a text."""
    content = content.encode('latin-1') if isinstance(content, str) else content
    proper = isinstance(dtype, np.dtype) and isinstance(content, (bytes, bytearray))
    need(proper, 'holds a numpy array of objects, not of numbers')
    fits = are_counts(shape) and len(shape) <= 32 and prod(shape) * dtype.itemsize == len(content)
    need(fits, 'holds a numpy array that declares another size than it has')
    machine.spend(len(content))
    return content


def _array(machine: Machine, content: Any, dtype: Any, shape: Any, order: Any = 'C') -> np.ndarray:
    content = _numbers(machine, content, dtype, shape)
    return np.frombuffer(bytearray(content), dtype).reshape(shape, order=order)


def _new_array(machine: Machine, cls: Any, shape: Any, kind: Any) -> np.ndarray:
    if cls != ARRAY or shape != (0,) or kind not in ('b', b'b'):
        raise unsafe('numpy._core.multiarray._reconstruct of something other than an empty array')
    return machine.remember(np.ndarray((0,), 'b'), ARRAY)


def fill_array(machine: Machine, array: np.ndarray, state: Any) -> None:
    """Fill an array that was made empty."""
    need(type(state) is tuple and len(state) == 5, 'holds a damaged numpy array')
    _, shape, dtype, fortran, content = state
    content = _numbers(machine, content, dtype, shape)
    array.__setstate__((1, shape, dtype, bool(fortran), bytes(content)))


def _statistic(machine: Machine, owner: Any, name: Any) -> Name:
    if owner != HISTORY_BUFFER or type(owner) is not Name or name not in _STATISTICS:
        raise unsafe(f'getattr({printable(owner, 80)}, {printable(name, 80)})')
    return Name(f'{owner}.{name}')


def fill_log(machine: Machine, log: Any, state: Any) -> None:
    """Give a HistoryBuffer the file's values."""
    need(type(state) is dict, 'is damaged: the state of a log buffer is no dictionary')
    parts, length = [state.get(name) for name in ('_log_history', '_count_history')], state.get('max_length', 1000000)
    arrays = all(isinstance(part, np.ndarray) and part.ndim == 1 and id(part) not in machine.made for part in parts)
    proper = arrays and len(parts[0]) == len(parts[1]) and is_count(length)
    need(proper, 'is damaged: a log buffer of no numbers')
    log._log_history, log._count_history, log.max_length = *parts, length


# Full names: what is built of a call's arguments.
CALLS: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys((f'torch._utils._rebuild_tensor{version}' for version in ('', '_v2', '_v3')), _tensor),
    'torch._utils._rebuild_parameter': _parameter,
    'torch.Size': _value(torch.Size, tuple),
    'torch.device': _value(torch.device, str, int),
    'collections.OrderedDict': _value(OrderedDict, dict, list, tuple, check=_check_pairs),
    'collections.Counter': _value(Counter, dict),
    'mmengine.config.config.ConfigDict': _value(dict, dict),
    '_codecs.encode': _encode,
    'builtins.bytearray': _byte_array,
    'builtins.bytes': _value(bytes),
    'builtins.complex': _value(complex, int, float),
    'builtins.set': _value(set, list, tuple, check=check_keys),
    'builtins.getattr': _statistic,
    'numpy.dtype': _dtype,
    **{f'numpy.{core}.multiarray._reconstruct': _new_array for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': lambda machine, dtype, content: _array(machine, content, dtype, ())[()]
       for core in ('core', '_core')},
    **{f'numpy.{core}.numeric._frombuffer': _array for core in ('core', '_core')},
}  # fmt: skip
# Named, but never called.
_TYPES = {HISTORY_BUFFER, ARRAY, *CONFIGURATIONS, *(f'{HISTORY_BUFFER}.{name}' for name in _STATISTICS)}
KNOWN = {*CALLS, *KINDS, *DTYPES, *_TYPES}
