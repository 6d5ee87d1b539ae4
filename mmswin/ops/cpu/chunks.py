"""A batch of maps as strips: some windows at a time, small enough to stay in a processor's cache.

Windows are counted through the whole batch, row by row, so that small maps share a strip.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from mmswin.ops.caches import ForkSafeLock, kept, lasts
from mmswin.ops.cpu.parallel import Cut, cut
from mmswin.ops.windows import MASKED_SCORE, WindowPlan

# So many places are kept of the maps last used: about 50 MB, at 8 bytes for each number of up to three of them.
KEPT_PLACES = 2**21


@dataclass
class Strip:
    """Consecutive windows of a batch of maps: ``windows`` of them, from number ``first`` on.

    Before the strip lie ``before`` tokens, counted in the order of the strips and without padding. A place is a slot of
    a window, in window order. ``source`` is the token of the flattened batch (``B * H * W``) at each place, 0 where it
    is padding; ``real`` and ``padded`` are the places of tokens and of padding, both None if there is none.
    """

    plan: WindowPlan
    first: int
    windows: int
    before: int
    source: Tensor
    real: Tensor | None
    padded: Tensor | None

    def __post_init__(self) -> None:
        # The tokens of the flattened batch that the strip holds.
        self.tokens = self.source if self.real is None else self.source[self.real]

    def take(self, batch: Tensor) -> Tensor:
        """The strip's tokens, without padding: rows of ``(B * H * W) x C``."""
        return batch.index_select(0, self.tokens)

    def in_places(self, tokens: Tensor, pad_value: Tensor | None = None) -> Tensor:
        """``tokens x C`` to ``(windows * places) x C``; padding holds ``pad_value``, zeros by default."""
        if self.real is None:
            return tokens
        places = tokens.new_empty(len(self.source), tokens.shape[1])
        places[self.padded] = 0 if pad_value is None else pad_value.to(tokens.dtype)
        return places.index_copy_(0, self.real, tokens)

    def of_tokens(self, places: Tensor) -> Tensor:
        """The inverse of :meth:`in_places`."""
        return places if self.real is None else places.index_select(0, self.real)

    def put(self, tokens: Tensor, batch: Tensor) -> None:
        """Write back what :meth:`take` took."""
        batch.index_copy_(0, self.tokens, tokens)

    def mask_(self, scores: Tensor) -> Tensor:
        """Add the region mask to ``windows x heads x tokens x tokens``, in place: only border windows have one."""
        plan = self.plan
        if not plan.shifted:
            return scores
        below, right, corner = _border_masks(plan.window, plan.shift, scores.dtype, scores.device)
        last = (plan.columns - 1 - self.first) % plan.columns  # of the first row
        scores[last :: plan.columns] += right
        for start in range(self._last_row(), self.windows, plan.rows * plan.columns):
            end = start + plan.columns
            scores[max(0, start) : end] += below
            if end <= self.windows:
                scores[end - 1] += corner
        return scores

    def _last_row(self) -> int:
        """Where the last row of windows of the first map begins that has one in here; negative if before the strip."""
        plan = self.plan
        start = (plan.rows - 1) * plan.columns - self.first % (plan.rows * plan.columns)
        return start if start + plan.columns > 0 else start + plan.rows * plan.columns

    def rows_of(self, batch: Tensor) -> Tensor:
        """The strip's rows of what lies in the order of the strips, ``(B * H * W) x C``; a view."""
        return batch[self.before : self.before + len(self.tokens)]


@kept(64)
def _border_masks(
    window: tuple[int, int], shift: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Masks of the last row's windows, of the last column's, and what the last of both has beyond their sum.

    ``tokens x tokens`` each.
    """
    row = torch.arange(window[0], device=device).repeat_interleave(window[1])
    column = torch.arange(window[1], device=device).repeat(window[0])
    below = (row >= window[0] - shift[0]).long() if shift[0] else torch.zeros_like(row)
    right = (column >= window[1] - shift[1]).long() if shift[1] else torch.zeros_like(column)
    of_row, of_column, of_both = (
        (region[:, None] != region[None]).to(dtype) * MASKED_SCORE for region in (below, right, 2 * below + right)
    )
    return of_row, of_column, of_both - of_row - of_column


class Strips(Sequence):
    """The strips of a batch of maps, each made when it is asked for.

    Args:
        plan: How each map is cut into windows.
        batch: How many maps.
        device: Where the strips' numbers are.
        into: How many strips at most, none of them empty, and how many at a time.

    Attributes:
        threads: How many strips are computed at the same time.
    """

    def __init__(self, plan: WindowPlan, batch: int, device: torch.device, into: Cut) -> None:
        self.plan = plan
        self.device = device
        self.windows = plan.rows * plan.columns * batch
        self.places = self.windows * plan.tokens
        self.threads = into.threads
        parts = min(into.parts, self.windows)
        self.made: dict[int, Strip] = {}
        self.firsts = [self.windows * part // parts for part in range(parts)]
        self.rows_before = _real_before(plan.rows, plan.window[0], plan.shift[0], plan.height)
        self.columns_before = _real_before(plan.columns, plan.window[1], plan.shift[1], plan.width)

    def __len__(self) -> int:
        return len(self.firsts)

    def __getitem__(self, number: int) -> Strip:
        number = range(len(self))[number]
        made = self.made.get(number)
        if made is None:
            # Numbers made under inference_mode could not be used in a later training step.
            with torch.inference_mode(False):
                made = self._make(number)
            if lasts(made.source):
                self.made[number] = made
        return made

    def _make(self, number: int) -> Strip:
        plan, first = self.plan, self.firsts[number]
        last = self.firsts[number + 1] if number + 1 < len(self.firsts) else self.windows
        window = torch.arange(first, last, device=self.device)[:, None]
        image, row, column = (
            window // (plan.rows * plan.columns),
            window // plan.columns % plan.rows,
            window % plan.columns,
        )
        row = _coordinates(row, plan.rows, plan.window[0], plan.shift[0])[:, :, None]
        column = _coordinates(column, plan.columns, plan.window[1], plan.shift[1])[:, None]
        source = (((image * plan.height)[:, :, None] + row) * plan.width + column).flatten()
        before = self._before(first)
        inside = None
        if plan.pad_bottom or plan.pad_right:
            inside = ((row < plan.height) & (column < plan.width)).flatten()
        if inside is None or inside.all():
            return Strip(plan, first, last - first, before, source, None, None)
        real, padded = inside.nonzero().flatten(), inside.logical_not().nonzero().flatten()
        return Strip(plan, first, last - first, before, source.where(inside, 0), real, padded)

    def _before(self, window: int) -> int:
        """How many tokens, without padding, the windows before this one hold."""
        plan = self.plan
        row, column = divmod(window % (plan.rows * plan.columns), plan.columns)
        in_row = self.rows_before[row + 1] - self.rows_before[row]
        tokens = self.rows_before[row] * plan.width + in_row * self.columns_before[column]
        return window // (plan.rows * plan.columns) * plan.height * plan.width + tokens


_kept: OrderedDict[tuple, Strips] = OrderedDict()
_lock = ForkSafeLock()


def strips(plan: WindowPlan, batch: int, device: torch.device) -> Strips:
    """The strips of ``batch`` maps cut by ``plan``; those of the maps last used are kept."""
    key = plan, batch, device, cut(batch * plan.rows * plan.columns * plan.tokens, device)
    with _lock:
        found = _kept.pop(key, None) or Strips(*key)
        if found.places <= KEPT_PLACES:
            _kept[key] = found
            while sum(one.places for one in _kept.values()) > KEPT_PLACES:
                _kept.popitem(last=False)
    return found


def _coordinates(number: Tensor, count: int, window: int, shift: int) -> Tensor:
    """Rows (or columns) of the map in the rows (or columns) of windows of these numbers: ``n x 1`` to ``n x slots``."""
    return (number * window + torch.arange(shift, shift + window, device=number.device)) % (count * window)


def _real_before(count: int, window: int, shift: int, length: int) -> list[int]:
    """How many rows (or columns) of the map are in the first 0, 1, ..., ``count`` rows (or columns) of windows."""
    slots = range(count * window)
    real = [(slot + shift) % len(slots) < length for slot in slots]
    return [0, *accumulate(sum(real[first : first + window]) for first in slots[::window])]
