"""Interleaved timing, and what the figures say."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Median, least and greatest of some seconds, and the middle half of them."""

    median: float
    low: float
    high: float
    quartiles: tuple[float, float]
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Summary:
        """Raises ValueError when there are no values."""
        if not values:
            raise ValueError('no values to summarise')
        ordered = sorted(values)
        if len(ordered) == 1:
            quartiles = (ordered[0], ordered[0])
        else:
            first, _, third = statistics.quantiles(ordered, n=4, method='inclusive')
            quartiles = (first, third)
        return cls(statistics.median(ordered), ordered[0], ordered[-1], quartiles, len(ordered))


def interleave(
    sides: Mapping[str, Callable[[], float]], rounds: int, progress: Callable[[str], None] = lambda line: None
) -> dict[str, list[float]]:
    """Ask every side for seconds, ``rounds`` times: A B C, C B A, A B C, ...

    The order alternates, so that a slow drift of the machine favours no side.

    Raises:
        ValueError: Fewer than one round.
    """
    if rounds < 1:
        raise ValueError(f'rounds={rounds}: at least one is needed')
    measured: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        names = list(sides) if number % 2 == 0 else list(reversed(sides))
        for name in names:
            measured[name].append(sides[name]())
        progress(f'round {number + 1} of {rounds}')
    return measured


def ratio(baseline: Sequence[float], other: Sequence[float]) -> Summary:
    """How many times faster ``other`` is than ``baseline``: one ratio per round, in which both were measured.

    The median of these moves less with the machine's load than the ratio of the medians does.
    """
    return Summary.of([slow / fast for slow, fast in zip(baseline, other)])
