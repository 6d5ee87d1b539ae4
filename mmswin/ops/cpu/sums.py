"""Gradients that are sums over the strips of a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from mmswin.ops.cpu.parallel import compute, shares


class Sums:
    """Sums by number; those that nobody wants are not computed."""

    def __init__(self, wanted: Sequence[bool]) -> None:
        self.wanted = wanted
        self.totals: list[Tensor | None] = [None] * len(wanted)

    def add(self, number: int, value: Callable[[], Tensor]) -> None:
        if self.wanted[number]:
            total = self.totals[number]
            self.totals[number] = value() if total is None else total.add_(value())

    def add_product(self, number: int, left: Tensor, right: Tensor) -> None:
        """``left.T @ right``."""
        if self.wanted[number]:
            total = self.totals[number]
            self.totals[number] = left.t() @ right if total is None else total.addmm_(left.t(), right)


def summed(work: Callable[[range], Sums], parts: int, threads: int) -> list[Tensor | None]:
    """The sums of all parts, whose numbers ``work`` is given in ``threads`` rows; None where nothing was added.

    Rows are added up in their order, so that two runs are equal to the bit.
    """
    first, *others = compute(work, shares(parts, threads), threads)
    for other in others:
        for number, value in enumerate(other.totals):
            if value is not None:
                first.add(number, lambda value=value: value)
    return first.totals
