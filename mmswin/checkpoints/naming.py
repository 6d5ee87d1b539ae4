"""Templates of parameter names, and renaming by tables of them.

A template is a name with gaps: ``{n}`` stands for a number and ``{*}`` for one or more characters of any kind. A number
may be counted otherwise on the two sides: ``features.{2n+1}`` fits ``features.5`` with n = 2, and no even number.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

Templates = tuple[tuple[str, str], ...]

_GAP = re.compile(r'\{(?:(\*)|(\d*)n([+-]\d+)?)\}')


@lru_cache(maxsize=4096)
def _compiled(template: str) -> tuple[re.Pattern, tuple[tuple[int, int] | None, ...], str]:
    """The pattern that a template stands for, (factor, offset) of each number, and a format string."""
    parts = _GAP.split(template)
    literals, gaps = parts[::4], list(zip(parts[1::4], parts[2::4], parts[3::4]))
    wild = ['(.+)' if star else '([0-9]{1,4})' for star, _, _ in gaps]
    regex = ''.join(re.escape(literal) + gap for literal, gap in zip(literals, [*wild, '']))
    numbers = tuple(None if star else (int(factor or 1), int(offset or 0)) for star, factor, offset in gaps)
    return re.compile(regex), numbers, '{}'.join(literals)


def match(name: str, template: str) -> list[int | str] | None:
    """What the gaps of a template stand for in a name, in order; None if it does not fit."""
    pattern, numbers, _ = _compiled(template)
    found = pattern.fullmatch(name)
    values: list[int | str] = []
    for text, counted in zip(found.groups(), numbers) if found else ():
        value, rest = divmod(int(text) - counted[1], counted[0]) if counted else (text, 0)
        if rest or (counted and value < 0):
            return None
        values.append(value)
    return values if found else None


def rename(name: str, templates: Iterable[tuple[str, str]]) -> str:
    """The name that the first fitting template gives, or the name itself."""
    for pattern, target in templates:
        values = match(name, pattern)
        if values is not None:
            _, numbers, text = _compiled(target)
            pairs = zip(values, numbers)
            return text.format(*(counted[0] * value + counted[1] if counted else value for value, counted in pairs))
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
