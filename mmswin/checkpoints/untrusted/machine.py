"""The stack machine of pickle for checkpoints: one pass that checks and builds, with a bound on everything.

It is Python's own with the instructions that ``torch.save`` and numpy's arrays need, in pickle protocols 2 to 5, and
stops at any other. What the file names is looked up in :mod:`mmswin.checkpoints.untrusted.names`, never imported.
"""

import gc
import pickle
import pickletools
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from torch import Tensor

from mmswin.checkpoints.untrusted import names
from mmswin.checkpoints.untrusted.names import ARRAY, CALLS, CONFIGURATIONS, DTYPES, HISTORY_BUFFER, Name, Storage
from mmswin.checkpoints.untrusted.other_files import FileRefused, FileUnsafe, need, unsafe

# Far more than a training checkpoint of the largest detectors has (some 200 000).
MAX_INSTRUCTIONS = 2_000_000
# What may be built: so many bytes and 16 times the file's own. Objects count more than they take.
_FREE_BYTES = 1 << 27
_OBJECT_BYTES = 512
_MAX_LEVELS, _MAX_ENTRIES = 100, 1_000_000
_MAPPINGS = (dict, OrderedDict, Counter)
_SHORT = 'is damaged: its list of tensors ends too early'


class Machine(pickle._Unpickler):
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
        super().__init__(file, encoding='latin-1')  # of Python 2's texts, which may be bytes
        self.file, self.size, self.storage_of = file, size, storage_of
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.append = self.stack.append
        self.left = _FREE_BYTES + 16 * (size if whole is None else whole)
        self.tensors: list[Tensor] = []
        self.numbers = names.MAX_NUMBERS
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
            need(all(name != ARRAY for _, name in self.made.values()), 'holds a damaged numpy array')
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
        read, instructions = self.file.read, _INSTRUCTIONS
        for _ in range(MAX_INSTRUCTIONS):
            code = read(1)
            if code == pickle.STOP:
                return self.stack.pop()
            carry_out = instructions.get(code)
            if carry_out is None:
                opcode = pickletools.code2op.get(code.decode('latin-1'))
                need(opcode is not None, _SHORT)
                raise FileUnsafe(
                    f'is written with the pickle instruction {opcode.name}, which torch.save does not use: '
                    'load it where you made it and save its weights with torch.save(weights, FILE)'
                )
            carry_out(self)
        raise FileRefused(f'has more than {MAX_INSTRUCTIONS} entries, which no file of weights has')

    def spend(self, amount: int) -> None:
        """Count bytes that are built, or that a tensor would take if each of its elements were stored."""
        self.left -= amount
        need(self.left >= 0, 'would swell to many times its size when it is read')

    # ------------------------------------------------------------------ what Python's instructions call

    def read(self, count: int) -> bytes:
        """The next bytes of the file."""
        fits = count <= 65536 or count <= self.size - self.file.tell()
        need(fits, 'is damaged: it declares more bytes than it has')
        content = self.file.read(count)
        need(len(content) == count, _SHORT)
        return content

    def readline(self) -> bytes:
        """The rest of a line, such as a name."""
        return self.file.readline(names.MAX_NAME)

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a type or function that the file names."""
        full = f'{"builtins" if module == "__builtin__" else module}.{name}'
        if full not in names.KNOWN:
            raise unsafe(full.removeprefix('builtins.'))
        return DTYPES.get(full) or Name(full)

    def persistent_load(self, pid: Any) -> Storage:
        """The storage of a tensor."""
        proper = type(pid) is tuple and 5 <= len(pid) <= 6 and pid[0] == 'storage'
        # A short text: the key is looked up, and of nested tuples hash and str have no bound.
        short = proper and type(pid[2]) is str and len(pid[2]) <= 100
        need(short, 'is damaged: a reference to what is no storage of a tensor')
        return self.storage_of(pid)

    # ------------------------------------------------------------------ instructions of ours

    def bytes_in_place(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), 'little'))))

    def empty_set(self) -> None:
        self.spend(_OBJECT_BYTES)
        self.append(set())

    def extend_list(self, items: list[Any]) -> None:
        need(type(self.stack[-1]) is list, 'is damaged: it appends to what is no list')
        self.stack[-1].extend(items)

    def extend_set(self, items: list[Any]) -> None:
        need(type(self.stack[-1]) is set, 'is damaged: it adds to what is no set')
        names.check_keys(self, items)
        self.stack[-1].update(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        need(type(target) in _MAPPINGS, 'is damaged: it sets entries of what is no dictionary')
        need(len(items) % 2 == 0, 'is damaged: a dictionary has a key without a value')
        names.check_keys(self, items[::2])
        for key, value in zip(items[::2], items[1::2]):
            target[key] = value

    def remember(self, made: Any, name: str) -> Any:
        """Note what was made empty; its state is to come."""
        self.made[id(made)] = made, name
        return made

    def new(self) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if type(cls) is not Name or cls not in (HISTORY_BUFFER, *CONFIGURATIONS) or arguments != ():
            raise unsafe(f'{cls if isinstance(cls, Name) else "object"}.__new__')
        self.spend(2 * _OBJECT_BYTES)
        made: Any = {}
        if cls == HISTORY_BUFFER:
            from mmengine.logging import HistoryBuffer  # the statistics that it knows stay its own

            made = HistoryBuffer()
        self.append(self.remember(made, cls))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        build = CALLS.get(function) if type(function) is Name else None
        if build is None:
            raise unsafe(function if isinstance(function, Name) else 'something other than a known function')
        need(type(arguments) is tuple and len(arguments) <= 20, 'is damaged: a call without arguments')
        self.spend(_OBJECT_BYTES)
        self.append(build(self, *arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        _, name = self.made.get(id(target), (None, ''))
        if name == 'argparse.Namespace':
            need(type(state) is dict, 'is damaged: the state of a Namespace is no dictionary')
            self.spend(100 * len(state))
            target.update(state)
        elif name == HISTORY_BUFFER:
            names.fill_log(self, target, state)
        elif name == ARRAY:
            del self.made[id(target)]
            names.fill_array(self, target, state)
        elif isinstance(target, np.dtype):
            names.check_dtype(state)
        # Others' are attributes, such as _metadata, which torch would obey.
        elif type(target) is not OrderedDict and name != 'yacs.config.CfgNode':
            raise unsafe(f'the state of a {type(target).__name__}')


# Of Python's instructions, those that make plain values, keep them, or call one of the methods above.
_PLAIN = (
    'NONE', 'NEWTRUE', 'NEWFALSE', 'BININT', 'BININT1', 'BININT2', 'LONG1', 'BINFLOAT', 'BINUNICODE',
    'SHORT_BINUNICODE', 'BINUNICODE8', 'BINSTRING', 'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8',
    'EMPTY_LIST', 'EMPTY_DICT', 'EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3', 'MARK', 'BINPUT', 'LONG_BINPUT',
    'MEMOIZE', 'GLOBAL', 'STACK_GLOBAL', 'BINPERSID',
)  # fmt: skip
_INSTRUCTIONS: dict[bytes, Callable[[Machine], Any]] = {
    **{(code := getattr(pickle, name)): pickle._Unpickler.dispatch[code[0]] for name in _PLAIN},
    pickle.PROTO: lambda machine: machine.read(1),
    pickle.FRAME: lambda machine: machine.read(8),
    pickle.BINGET: lambda machine: machine.append(machine.memo[machine.read(1)[0]]),
    pickle.LONG_BINGET: lambda machine: machine.append(machine.memo[int.from_bytes(machine.read(4), 'little')]),
    pickle.BYTEARRAY8: Machine.bytes_in_place,
    pickle.EMPTY_SET: Machine.empty_set,
    pickle.APPEND: lambda machine: machine.extend_list([machine.stack.pop()]),
    pickle.APPENDS: lambda machine: machine.extend_list(machine.pop_mark()),
    pickle.ADDITEMS: lambda machine: machine.extend_set(machine.pop_mark()),
    pickle.SETITEM: lambda machine: machine.set_items([machine.stack.pop(-2), machine.stack.pop()]),
    pickle.SETITEMS: lambda machine: machine.set_items(machine.pop_mark()),
    pickle.NEWOBJ: Machine.new,
    pickle.REDUCE: Machine.reduce,
    pickle.BUILD: Machine.build,
}


def check_structure(loaded: Any) -> None:
    """Make sure that containers within containers are not nested endlessly, nor refer to each other in a circle.

    Raises:
        FileRefused: They are; code that walks through them would not come back.
    """
    around: set[int] = set()
    count = 0

    def walk(container: Any) -> None:
        nonlocal count
        need(id(container) not in around, 'refers to itself in a circle, which no file of weights does')
        around.add(id(container))
        count += len(container)  # as often as it is met
        fits = len(around) <= _MAX_LEVELS and count <= _MAX_ENTRIES
        need(fits, f'nests {len(around)} levels and {count} entries, which no file of weights does')
        for child in container.values() if isinstance(container, dict) else container:
            if isinstance(child, (dict, list, tuple, set)):
                walk(child)
        around.remove(id(container))

    if isinstance(loaded, (dict, list, tuple)):
        walk(loaded)
