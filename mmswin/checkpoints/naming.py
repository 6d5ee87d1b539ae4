"""Templates of parameter names, and renaming by tables of them.

A template is a name with gaps: ``{n}`` stands for a number and ``{*}`` for one or more characters of any kind. A number
may be counted otherwise on the two sides: ``features.{2n+1}`` fits ``features.5`` with n = 2, and no even number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

Templates = tuple[tuple[str, str], ...]

_GAP = re.compile(r'\{(?:(\*)|(\d*)n([+-]\d+)?)\}')


@lru_cache(maxsize=4096)
def _compiled(template: str) -> tuple[re.Pattern, tuple[tuple[int, int] | None, ...], str]:
    """The pattern that a template stands for, (factor, offset) of each number, and a format string."""
    gaps = list(_GAP.finditer(template))
    regex, text, end = '', '', 0
    for gap in gaps:
        literal = template[end : gap.start()]
        regex += re.escape(literal) + ('(.+)' if gap[1] else r'([0-9]{1,4})')
        text += literal + '{}'
        end = gap.end()
    numbers = tuple(None if gap[1] else (int(gap[2] or 1), int(gap[3] or 0)) for gap in gaps)
    return re.compile(regex + re.escape(template[end:])), numbers, text + template[end:]


def match(name: str, template: str) -> list[int | str] | None:
    """What the gaps of a template stand for in a name, in order; None if it does not fit."""
    pattern, numbers, _ = _compiled(template)
    found = pattern.fullmatch(name)
    if not found:
        return None
    values: list[int | str] = []
    for text, counted in zip(found.groups(), numbers):
        if counted is None:
            values.append(text)
            continue
        factor, offset = counted
        value, rest = divmod(int(text) - offset, factor)
        if rest or value < 0:
            return None
        values.append(value)
    return values


def fill(template: str, values: Iterable[int | str]) -> str:
    """The name that a template gives with its gaps filled."""
    _, numbers, text = _compiled(template)
    filled = [
        value if counted is None else counted[0] * int(value) + counted[1] for value, counted in zip(values, numbers)
    ]
    return text.format(*filled)


def rename(name: str, templates: Iterable[tuple[str, str]]) -> str:
    """The name that the first fitting template gives, or the name itself."""
    for pattern, target in templates:
        values = match(name, pattern)
        if values is not None:
            return fill(target, values)
    return name


def rename_below(state_dict: dict[str, Any], prefix: str, templates: Iterable[tuple[str, str]]) -> None:
    """Rename the entries of a state dict whose names begin with a prefix, in place."""
    templates = tuple(templates)
    for name in [name for name in state_dict if name.startswith(prefix)]:
        ours = prefix + rename(name.removeprefix(prefix), templates)
        if ours != name:
            state_dict[ours] = state_dict.pop(name)


def reverse(templates: Iterable[tuple[str, str]]) -> Templates:
    """The table read from right to left."""
    return tuple((target, pattern) for pattern, target in templates)
