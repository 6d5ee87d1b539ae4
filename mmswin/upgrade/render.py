"""A configuration as a file that people like to read: one entry a line where a line is too short for all."""

import textwrap
from keyword import iskeyword
from math import isfinite
from typing import Any

WIDTH = 110
_INDENT = '    '
UNBROKEN = {'break_long_words': False, 'break_on_hyphens': False}


class Name(str):
    """A variable of the file, written without quotes."""

    __slots__ = ()


def literal(value: Any, indent: str = '', used: int = 0) -> str:
    """Python text of a value.

    Args:
        value: Dicts, lists, tuples, and what ``repr`` can write.
        indent: White space in front of the line that the text begins in.
        used: Columns that stand before the text in its line, the indent left out.
    """
    short = _on_one_line(value)
    if len(indent) + used + len(short) <= WIDTH or not isinstance(value, (dict, list, tuple)) or not value:
        return short
    inner = indent + _INDENT
    opening, entries, closing = _parts(value)
    plain = all(not isinstance(entry, (dict, list, tuple)) or _of_numbers(entry) for _, entry in entries)
    if plain and not isinstance(value, dict):  # as many as a line holds
        words = [_on_one_line(entry).replace(' ', '\0') for _, entry in entries]
        lines = textwrap.wrap(', '.join(words) + ',', WIDTH, initial_indent=inner, subsequent_indent=inner, **UNBROKEN)
        return '\n'.join([opening, *(line.replace('\0', ' ') for line in lines), indent + closing])
    lines = [f'{inner}{key}{literal(entry, inner, len(key) + 1)},' for key, entry in entries]
    return '\n'.join([opening, *lines, indent + closing])


def assignment(name: str, value: Any) -> str:
    """``name = value``."""
    return f'{name} = {literal(value, used=len(name) + 3)}'


def _on_one_line(value: Any) -> str:
    if isinstance(value, float) and not isfinite(value):
        return f"float('{value}')"
    if not isinstance(value, (dict, list, tuple)):
        return str(value) if isinstance(value, Name) else repr(value)
    opening, entries, closing = _parts(value)
    comma = ',' if isinstance(value, tuple) and len(value) == 1 else ''
    return opening + ', '.join(key + _on_one_line(entry) for key, entry in entries) + comma + closing


def _parts(value: dict | list | tuple) -> tuple[str, list[tuple[str, Any]], str]:
    """The bracket that opens a value, its entries with what stands before each, and the bracket that closes it."""
    if not isinstance(value, dict):
        opening, closing = '()' if isinstance(value, tuple) else '[]'
        return opening, [('', entry) for entry in value], closing
    if all(isinstance(name, str) and name.isidentifier() and not iskeyword(name) for name in value):
        return 'dict(', [(f'{name}=', entry) for name, entry in value.items()], ')'
    return '{', [(f'{name!r}: ', entry) for name, entry in value.items()], '}'


def _of_numbers(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(entry, (int, float)) for entry in value)
