"""The stack machine of pickle for checkpoints: one pass that checks and builds, with a bound on everything.

It knows the instructions that ``torch.save`` and numpy's arrays need, in pickle protocols 2 to 5, and stops at any
other. What the file names is looked up in :mod:`mmswin.checkpoints.untrusted.names`, never imported.
"""

from __future__ import annotations

import gc
import pickletools
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from mmswin.checkpoints.untrusted import names
from mmswin.checkpoints.untrusted.names import (
    CALLS,
    CONFIGURATIONS,
    DTYPES,
    HISTORY_BUFFER,
    KINDS,
    TYPES,
    Name,
    Storage,
)
from mmswin.checkpoints.untrusted.other_files import FileRefused, UnsafeName, UnusualPickle, need

# Far more than a training checkpoint of the largest detectors has (some 200 000).
MAX_INSTRUCTIONS = 2_000_000
# What may be built: so many bytes and 16 times the file's own. Objects count more than they take.
_FREE_BYTES = 1 << 27
_OBJECT_BYTES, _CONTAINER_BYTES = 512, 400
_MAX_NAME = 1000
_MAX_LEVELS, _MAX_ENTRIES = 100, 3_000_000
_MAPPINGS = (dict, OrderedDict, Counter)
_SHORT = 'is damaged: its list of tensors ends too early'


class Machine:
    """Reads one pickle.

    Args:
        file: Positioned at the pickle; afterwards just behind it.
        size: Where its bytes end at the latest.
        storage_of: Gives the storage of a persistent identity; raises FileRefused.
        whole: Bytes of the whole checkpoint, to which what is built must be in proportion; default ``size``.
    """

    def __init__(
        self, file: BinaryIO, size: int, storage_of: Callable[[tuple], Storage], whole: int | None = None
    ) -> None:
        self.file, self.size, self.storage_of = file, size, storage_of
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.left = _FREE_BYTES + 16 * (size if whole is None else whole)
        self.tensors: dict[int, tuple[Tensor, Storage]] = {}
        self.unfilled: dict[int, np.ndarray] = {}
        self.made: dict[int, tuple[Any, str]] = {}  # what was made empty, and for which name

    def load(self) -> Any:
        """What the pickle holds.

        Raises:
            UnsafeName: A type or function is needed that is not on the list.
            FileRefused: It is damaged, or declares what is not there.
        """
        collecting = gc.isenabled()
        gc.disable()  # it would go through all that is built, again and again
        try:
            result = self._run()
            need(not self.unfilled, 'holds a damaged numpy array')
            for made, name in self.made.values():
                if name == HISTORY_BUFFER:
                    names.check_log(made)
            check_structure(result)
        except (FileRefused, MemoryError):
            raise
        except Exception as error:  # whatever a random byte leads to
            raise FileRefused(f'is damaged ({type(error).__name__} in its list of tensors)') from error
        finally:
            if collecting:
                gc.enable()
        return result

    def _run(self) -> Any:
        read, handlers = self.file.read, _HANDLERS
        for _ in range(MAX_INSTRUCTIONS):
            code = read(1)
            if code == b'.':
                return self.stack.pop()
            handler = handlers.get(code)
            if handler is None:
                opcode = pickletools.code2op.get(code.decode('latin-1'))
                need(opcode is not None, _SHORT)
                raise UnusualPickle(
                    f'is written with the pickle instruction {opcode.name}, which torch.save does not use: '
                    'load it where you made it and save its weights with torch.save(weights, FILE)'
                )
            handler(self)
        raise FileRefused(f'has more than {MAX_INSTRUCTIONS} entries, which no file of weights has')

    def spend(self, amount: int) -> None:
        """Count bytes that are built, or that a tensor would take if each of its elements were stored."""
        self.left -= amount
        need(self.left >= 0, 'would swell to many times its size when it is read')

    # ------------------------------------------------------------------ instructions

    def bytes(self, count: int) -> bytes:  # pyrefly: ignore[not-a-type]
        """The next bytes of the file."""
        fits = count <= 65536 or count <= self.size - self.file.tell()
        need(fits, 'is damaged: it declares more bytes than it has')
        content = self.file.read(count)
        need(len(content) == count, _SHORT)
        return content

    def number(self, width: int) -> int:
        return int.from_bytes(self.bytes(width), 'little')

    def counted(self, width: int) -> bytes:  # pyrefly: ignore[not-a-type]
        """Bytes whose number stands before them."""
        return self.bytes(self.number(width))

    def protocol(self) -> None:
        version = self.number(1)
        if not 2 <= version <= 5:
            raise UnusualPickle(f'is written with pickle protocol {version}: save it with torch.save where you made it')

    def line(self) -> str:
        text = self.file.readline(_MAX_NAME)
        need(text.endswith(b'\n'), 'is damaged: a name without an end')
        return text[:-1].decode('utf-8')

    def name(self, module: Any, name: Any) -> None:
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        if full not in CALLS and full not in KINDS and full not in DTYPES and full not in TYPES:
            raise UnsafeName(full.removeprefix('builtins.'))
        self.stack.append(DTYPES.get(full) or Name(full))

    def pop_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def tail(self, count: int) -> list[Any]:
        need(len(self.stack) >= count, 'is damaged (IndexError in its list of tensors)')
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def memoize(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def append(self, items: list[Any]) -> None:
        need(type(self.stack[-1]) is list, 'is damaged: it appends to what is no list')
        self.stack[-1].extend(items)

    def add_items(self, items: list[Any]) -> None:
        need(type(self.stack[-1]) is set, 'is damaged: it adds to what is no set')
        names.check_keys(items)
        self.stack[-1].update(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        need(type(target) in _MAPPINGS, 'is damaged: it sets entries of what is no dictionary')
        need(len(items) % 2 == 0, 'is damaged: a dictionary has a key without a value')
        names.check_keys(items[::2])
        for key, value in zip(items[::2], items[1::2]):
            target[key] = value

    def storage(self) -> None:
        identity = self.stack.pop()
        proper = type(identity) is tuple and len(identity) >= 5 and identity[0] == 'storage'
        need(proper, 'is damaged: a reference to what is no storage of a tensor')
        self.stack.append(self.storage_of(identity))

    def new(self) -> None:
        cls, arguments = self.tail(2)
        if type(cls) is not Name or cls not in (HISTORY_BUFFER, *CONFIGURATIONS) or arguments != ():
            raise UnsafeName(f'{cls if isinstance(cls, Name) else "object"}.__new__')
        self.spend(2 * _OBJECT_BYTES)
        made: Any = {}
        if cls == HISTORY_BUFFER:
            from mmengine.logging import HistoryBuffer

            made = HistoryBuffer()
        self.made[id(made)] = made, cls
        self.stack.append(made)

    def reduce(self) -> None:
        function, arguments = self.tail(2)
        build = CALLS.get(function) if type(function) is Name else None
        if build is None:
            raise UnsafeName(function if isinstance(function, Name) else 'something other than a known function')
        need(type(arguments) is tuple, 'is damaged: a call without arguments')
        self.spend(_OBJECT_BYTES)
        self.stack.append(build(self, *arguments))

    def build(self) -> None:
        target, state = self.tail(2)
        self.stack.append(target)
        _, name = self.made.get(id(target), (None, ''))
        if name == 'argparse.Namespace':
            need(type(state) is dict, 'is damaged: the state of a Namespace is no dictionary')
            self.spend(100 * len(state))
            target.update(state)
        elif name == HISTORY_BUFFER:
            names.fill_log(target, state)
        elif isinstance(target, np.dtype):
            names.check_dtype(state)
        elif type(target) is np.ndarray:
            names.fill_array(self, target, state)
        # Others' are attributes, such as _metadata, which torch would obey.
        elif type(target) is not OrderedDict and name != 'yacs.config.CfgNode':
            raise UnsafeName(f'the state of a {type(target).__name__}')


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(make(machine))


def _container(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def handler(machine: Machine) -> None:
        machine.spend(_CONTAINER_BYTES)
        machine.stack.append(make(machine))

    return handler


_HANDLERS: dict[bytes, Callable[[Machine], None]] = {
    b'\x80': Machine.protocol,
    b'\x95': lambda machine: need(len(machine.bytes(8)) == 8, _SHORT),  # how long a frame is
    b'c': lambda machine: machine.name(machine.line(), machine.line()),
    b'\x93': lambda machine: machine.name(*machine.tail(2)),
    b'R': Machine.reduce,
    b'\x81': Machine.new,
    b'b': Machine.build,
    b'Q': Machine.storage,
    b'(': lambda machine: machine.marks.append(len(machine.stack)),
    b'q': lambda machine: machine.memoize(machine.number(1)),
    b'r': lambda machine: machine.memoize(machine.number(4)),
    b'\x94': lambda machine: machine.memoize(len(machine.memo)),
    b'h': _push(lambda machine: machine.memo[machine.number(1)]),
    b'j': _push(lambda machine: machine.memo[machine.number(4)]),
    b'J': _push(lambda machine: int.from_bytes(machine.bytes(4), 'little', signed=True)),
    b'K': _push(lambda machine: machine.number(1)),
    b'M': _push(lambda machine: machine.number(2)),
    b'\x8a': _push(lambda machine: int.from_bytes(machine.counted(1), 'little', signed=True)),
    b'G': _push(lambda machine: struct.unpack('>d', machine.bytes(8))[0]),
    b'X': _push(lambda machine: machine.counted(4).decode('utf-8', 'surrogatepass')),
    b'\x8c': _push(lambda machine: machine.counted(1).decode('utf-8', 'surrogatepass')),
    b'\x8d': _push(lambda machine: machine.counted(8).decode('utf-8', 'surrogatepass')),
    # Python 2's, which are texts and bytes.
    b'U': _push(lambda machine: machine.counted(1).decode('latin-1')),
    b'T': _push(lambda machine: machine.counted(4).decode('latin-1')),
    b'C': _push(lambda machine: machine.counted(1)),
    b'B': _push(lambda machine: machine.counted(4)),
    b'\x8e': _push(lambda machine: machine.counted(8)),
    b'\x96': _push(lambda machine: bytearray(machine.counted(8))),
    b'N': _push(lambda machine: None),
    b'\x88': _push(lambda machine: True),
    b'\x89': _push(lambda machine: False),
    b')': _push(lambda machine: ()),
    b']': _container(lambda machine: []),
    b'}': _container(lambda machine: {}),
    b'\x8f': _container(lambda machine: set()),
    b't': _container(lambda machine: tuple(machine.pop_mark())),
    b'\x85': _container(lambda machine: tuple(machine.tail(1))),
    b'\x86': _container(lambda machine: tuple(machine.tail(2))),
    b'\x87': _container(lambda machine: tuple(machine.tail(3))),
    b'a': lambda machine: machine.append(machine.tail(1)),
    b'e': lambda machine: machine.append(machine.pop_mark()),
    b's': lambda machine: machine.set_items(machine.tail(2)),
    b'u': lambda machine: machine.set_items(machine.pop_mark()),
    b'\x90': lambda machine: machine.add_items(machine.pop_mark()),
}


def check_structure(loaded: Any) -> None:
    """Make sure that containers within containers are not nested endlessly, nor refer to each other in a circle.

    Raises:
        FileRefused: They are; code that walks through them would not come back.
    """
    heights: dict[int, tuple[int, int]] = {}  # levels and entries below a container
    path: set[int] = set()
    stack = [(loaded, False)] if isinstance(loaded, (dict, list, tuple)) else []
    while stack:
        value, children_done = stack.pop()
        if not children_done and id(value) in heights:
            continue
        children = value.values() if isinstance(value, dict) else value
        nested = [child for child in children if isinstance(child, (dict, list, tuple)) and child]
        if children_done or not nested:
            path.discard(id(value))
            below = [heights[id(child)] for child in nested]
            levels, entries = 1 + max((b[0] for b in below), default=0), len(value) + sum(b[1] for b in below)
            if levels > _MAX_LEVELS or entries > _MAX_ENTRIES:
                raise FileRefused(f'nests {levels} levels and {entries} entries, which no file of weights does')
            heights[id(value)] = levels, entries
        else:
            need(id(value) not in path, 'refers to itself in a circle, which no file of weights does')
            path.add(id(value))
            stack.append((value, True))
            stack.extend((child, False) for child in nested)
