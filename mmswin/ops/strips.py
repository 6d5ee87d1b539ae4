"""A batch of maps as strips: some rows of windows at a time, small enough to stay in a processor's cache.

Rows of windows are counted through the whole batch, so that small maps share a strip.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from mmswin.ops.windows import MASKED_SCORE, WindowPlan

# About so many tokens are worked on at a time. Fewer, and the matrix products get slow; more, and what is between them
# leaves the cache.
TOKENS = 2400


@dataclass
class Strip:
    """Consecutive rows of windows of a batch of maps.

    A place is a slot of a window, in window order. ``source`` is the token of the flattened batch (``B * H * W``) at
    each place, 0 where it is padding; ``real`` and ``padded`` are the places of tokens and of padding, both None if
    there is none.
    """

    plan: WindowPlan
    first: int
    count: int
    source: Tensor
    real: Tensor | None
    padded: Tensor | None

    @property
    def windows(self) -> int:
        """How many there are."""
        return self.count * self.plan.columns

    @property
    def tokens(self) -> Tensor:
        """The tokens of the flattened batch that the strip holds."""
        return self.source if self.real is None else self.source[self.real]

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
        grid = scores.view(self.count, plan.columns, *scores.shape[1:])
        lowest = (plan.rows - 1 - self.first) % plan.rows  # of the first map whose last row of windows is in here
        grid[:, -1] += right
        grid[lowest :: plan.rows, :-1] += below
        grid[lowest :: plan.rows, -1] += corner - right
        return scores


@lru_cache(maxsize=64)
def _border_masks(
    window: tuple[int, int], shift: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The masks of windows of the last row, of the last column and of both: ``tokens x tokens`` each."""
    with torch.inference_mode(False):
        row = torch.arange(window[0], device=device).repeat_interleave(window[1])
        column = torch.arange(window[1], device=device).repeat(window[0])
        below = (row >= window[0] - shift[0]).long() if shift[0] else torch.zeros_like(row)
        right = (column >= window[1] - shift[1]).long() if shift[1] else torch.zeros_like(column)
        masks = []
        for region in (below, right, 2 * below + right):
            masks.append((region[:, None] != region[None]).to(dtype) * MASKED_SCORE)
    return tuple(masks)


def strips(plan: WindowPlan, batch: int, device: torch.device, tokens: int = TOKENS) -> Iterator[Strip]:
    """The strips of ``batch`` maps cut by ``plan``, of about ``tokens`` tokens each and at least one row of windows."""
    rows = plan.rows * batch
    parts = max(1, round(rows * plan.columns * plan.tokens / tokens))
    step = -(-rows // parts)
    slot = torch.arange(plan.window[0], device=device)
    column = (torch.arange(plan.columns * plan.window[1], device=device) + plan.shift[1]) % (
        plan.columns * plan.window[1]
    )
    for first in range(0, rows, step):
        count = min(step, rows - first)
        number = torch.arange(first, first + count, device=device)
        image, row = number // plan.rows, number % plan.rows
        row = (row[:, None] * plan.window[0] + slot + plan.shift[0]) % (plan.rows * plan.window[0])
        source = (image[:, None] * plan.height + row)[:, :, None] * plan.width + column
        inside = None
        if plan.pad_bottom or plan.pad_right:
            inside = _in_windows((row < plan.height)[:, :, None] & (column < plan.width), plan)
        source = _in_windows(source, plan)
        if inside is None or inside.all():
            yield Strip(plan, first, count, source, None, None)
        else:
            real, padded = inside.nonzero().flatten(), inside.logical_not().nonzero().flatten()
            yield Strip(plan, first, count, source.where(inside, 0), real, padded)


def _in_windows(grid: Tensor, plan: WindowPlan) -> Tensor:
    """``count x window rows x (columns * window columns)`` to window order, flat."""
    return grid.reshape(len(grid), plan.window[0], plan.columns, plan.window[1]).transpose(1, 2).reshape(-1)
