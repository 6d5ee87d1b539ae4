"""A dry run of the pickle inside a checkpoint: what it names, and whether what it declares is there.

:func:`scan` goes through the pickle's instructions with placeholders in place of objects. It calls nothing, builds no
tensor, and stops at the first instruction that a file of weights does not need. Thus a file is judged before anything
of it is built: names that are not on the list, tensors that reach beyond their storage, storages larger than the file,
and a few bytes that would swell to gigabytes.

The instructions are those of ``torch.save`` with its default pickle protocol 2, as in torch's own weights-only
unpickler.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from mmswin.checkpoints.pickle_config import check_content, check_state
from mmswin.checkpoints.pickle_names import (
    CALLS,
    DTYPES,
    FILLED,
    OBJECT_BYTES,
    OTHER,
    STORAGES,
    TYPES,
    Budget,
    Dtype,
    Name,
    Object,
    PickleRefused,
    Storage,
    UnsafeName,
    UnusualPickle,
    check_array,
    check_keys,
)

# Far more than a training checkpoint of the largest detectors has (some 200 000); two to three seconds to go through.
MAX_INSTRUCTIONS = 2_000_000
FILLED_BY_KEY = ('dict', 'OrderedDict', 'Counter', 'CfgNode')
StorageOf = Callable[[tuple], Storage]


class _Machine:
    """The stack machine of pickle, on placeholders."""

    def __init__(self, storage_of: StorageOf, file_size: int) -> None:
        self.storage_of = storage_of
        self.budget = Budget(file_size)
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.configurations: list[Object] = []

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
                    'load it where you made it and save its weights with torch.save(weights, FILE)'
                )
            handler(self, argument)
        check_content(self.configurations)
        return self.stack.pop()

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def proto(self, version: int) -> None:
        if version not in (2, 3):
            raise UnusualPickle(
                f'is written with pickle protocol {version}: load it where you made it and save its '
                'weights with torch.save(weights, FILE), whose protocol is 2'
            )

    def name(self, argument: str) -> None:
        full = argument.replace(' ', '.', 1)
        full = Name(full.replace('__builtin__.', 'builtins.', 1) if full.startswith('__builtin__.') else full)
        if full not in CALLS and full not in STORAGES and full not in DTYPES and full not in TYPES:
            raise UnsafeName(full.removeprefix('builtins.'))
        self.push(full)

    def put(self, index: int) -> None:
        if index > MAX_INSTRUCTIONS:  # older torch reserves memory for all that come before
            raise PickleRefused('is damaged: it numbers its entries beyond all bounds')
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
        if not isinstance(target, Object) or target.kind not in FILLED_BY_KEY:
            raise PickleRefused('is damaged: it sets entries of what is no dictionary')
        if len(items) % 2:
            raise PickleRefused('is damaged: a dictionary has a key without a value')
        check_keys(items[::2])
        target.entries.extend(items)

    def storage(self, _: Any) -> None:
        identity = self.stack.pop()
        if type(identity) is not tuple or not identity or identity[0] != 'storage':
            raise PickleRefused('is damaged: a reference to what is no storage of a tensor')
        self.push(self.storage_of(identity))

    def new(self, _: Any) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        if not isinstance(cls, Name) or cls not in FILLED or arguments != ():
            raise UnsafeName(f'{cls if isinstance(cls, Name) else "object"}.__new__')
        self.budget.spend(OBJECT_BYTES)
        made = Object(FILLED[cls])
        if made.kind != 'HistoryBuffer':
            self.configurations.append(made)
        self.push(made)

    def reduce(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        checker = CALLS.get(function) if isinstance(function, Name) else None
        if checker is None:
            raise UnsafeName(function if isinstance(function, Name) else 'something other than a known function')
        if type(arguments) is not tuple:
            raise PickleRefused('is damaged: a call without arguments')
        self.budget.spend(OBJECT_BYTES)
        self.push(checker(self.budget, *arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        kind = target.kind if isinstance(target, Object) else 'dtype' if isinstance(target, Dtype) else ''
        if kind in ('OrderedDict', *FILLED.values()):
            check_state(kind, state)
            self.budget.spend(100 * state.size)
            if kind != 'HistoryBuffer':  # the content of a configuration, or of what one holds
                target.entries.extend(state.entries)
        elif kind == 'dtype':
            # '>', big-endian: torch would keep the bytes as they are.
            if type(state) is not tuple or len(state) < 5 or state[1] not in ('<', '|', '=') or any(state[2:5]):
                raise PickleRefused('holds a numpy array whose numbers are of an unusual kind')
        elif kind == 'array':
            check_array(self.budget, state)
        else:
            raise UnsafeName(f'the state of {kind or "an unknown object"}')


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
    'EMPTY_DICT': lambda machine, _: machine.push(Object('dict')),
    'EMPTY_SET': lambda machine, _: machine.push(OTHER),
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
