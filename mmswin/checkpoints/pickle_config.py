"""What an object that the pickle inside a checkpoint fills in may hold, on the placeholders of a scan.

Configurations (``yacs.config.CfgNode``, ``argparse.Namespace``) hold plain values, containers of them, tensors and each
other. They are judged when the whole pickle is known, for a list within one may be filled later.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from mmswin.checkpoints.pickle_names import DTYPES, Bytes, Name, Object, PickleRefused

# yacs 0.1; its entries are those of the dictionary, not of the state.
_CFG_STATE = frozenset({'__immutable__', '__deprecated_keys__', '__renamed_keys__', '__new_allowed__'})
_PLAIN = (str, int, float, Bytes, type(None))
_HARMLESS = ('tensor', 'other', 'dict', 'OrderedDict', 'Counter', 'CfgNode', 'Namespace')


def check_state(kind: str, state: Any) -> None:
    """Check the attributes that an object of the kind is filled with.

    Raises:
        PickleRefused: They are no dictionary, or are not those that such an object has.
    """
    if not isinstance(state, Object) or state.kind != 'dict':
        raise PickleRefused(f'is damaged: the state of a {kind} is no dictionary')
    for key in () if kind == 'HistoryBuffer' else state.entries[::2]:
        if type(key) is not str or not _is_attribute(kind, key):
            shown = key if isinstance(key, str) else type(key).__name__
            raise PickleRefused(f'is damaged: the state of a {kind} has {shown[:80]!r}, which is no attribute of one')


def _is_attribute(kind: str, key: str) -> bool:
    if kind == 'CfgNode':
        return key in _CFG_STATE
    if kind == 'Namespace':
        return not (key.startswith('__') and key.endswith('__'))
    return not hasattr(OrderedDict, key)  # which would hide a method


def check_content(configurations: list[Object]) -> None:
    """Make sure that configurations hold nothing but plain values, however deep.

    Raises:
        PickleRefused: They do.
    """
    stack: list[Any] = list(configurations)
    seen: set[int] = set()
    while stack:
        value = stack.pop()
        if isinstance(value, _PLAIN) and (not isinstance(value, Name) or value in DTYPES):
            continue
        inner = value.entries if isinstance(value, Object) and value.kind in _HARMLESS else value
        if type(inner) not in (list, tuple):
            what = value.kind if isinstance(value, Object) else value
            what = what if isinstance(what, str) else type(what).__name__
            raise PickleRefused(f'has a configuration that holds more than plain values: {what[:80]}')
        if id(inner) not in seen:
            seen.add(id(inner))
            stack.extend(inner)
