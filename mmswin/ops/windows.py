"""Windows over a feature map: padding, cyclic shift, partition, region mask, relative position index.

Everything here moves or masks tokens and has no parameters. A map is ``B x H x W x C``; a window is ``(rows, columns)``
in tokens. Cached values depend only on sizes, device and dtype and change no result.

"Swin" means different things on small or odd maps; this is the authors' dense-prediction network, which mmdet and
mmseg follow:

==============================  ===================  ===============================  ==============================
network                         padding and shift    map no larger than a window      order of 2x2 merging
==============================  ===================  ===============================  ==============================
**mmswin**, authors' detection  pad, then shift      pads, keeps the shift; the mask  (0,0) (1,0) (0,1) (1,1) blocks
                                                     decides
mmdet, mmseg                    pad, then shift      the same                         channel-major (``nn.Unfold``)
timm                            shift, then pad      clamps the window, no shift      as the authors
torchvision                     pad, then shift      no shift, per axis               as the authors
transformers                    pad, then shift      shrinks the window, no shift     as the authors
mmpretrain                      pad, then shift      error, or pads by option         channel-major (``nn.Unfold``)
==============================  ===================  ===============================  ==============================

The others load the same weights but are no oracle at sizes where their column differs.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from mmswin.ops.caches import ForkSafeLock, kept, lasts

# The score added between tokens that were no neighbours before the shift. Not -inf: a value of the reference,
# and results must agree with it to rounding.
MASKED_SCORE = -100.0

# Region masks are kept up to this size in all, the least recently used going first. At 800 x 1333 pixels the four
# stages need 18 MB; a mask that alone is larger than this (images of tens of megapixels) is made anew each time.
MASK_CACHE_BYTES = 128 * 2**20


class WindowPlan(NamedTuple):
    """How one map is cut into windows.

    Sizes are in tokens. ``pad_bottom`` and ``pad_right`` fill the map up to ``rows x columns`` whole windows, after
    which it is rolled by ``shift`` toward the top left.
    """

    height: int
    width: int
    window: tuple[int, int]
    shift: tuple[int, int]
    rows: int
    columns: int
    pad_bottom: int
    pad_right: int

    @property
    def shifted(self) -> bool:
        return self.shift[0] > 0 or self.shift[1] > 0

    @property
    def tokens(self) -> int:
        """Tokens of one window."""
        return self.window[0] * self.window[1]


def capturing() -> bool:
    """Whether torch.compile, torch.export or torch.jit.trace records this call, so that sizes may be symbols."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def _plan(height: int, width: int, window: tuple[int, int], shift: tuple[int, int]) -> WindowPlan:
    rows = (height + window[0] - 1) // window[0]
    columns = (width + window[1] - 1) // window[1]
    return WindowPlan(
        height, width, window, shift, rows, columns, rows * window[0] - height, columns * window[1] - width
    )


_cached_plan = lru_cache(maxsize=4096)(_plan)


def window_plan(height: int, width: int, window: tuple[int, int], shift: tuple[int, int] = (0, 0)) -> WindowPlan:
    """The plan for a map of ``height x width`` tokens, at least one each.

    A dimension is always padded to whole windows and the shift is kept on maps no larger than a window.
    """
    return (_plan if capturing() else _cached_plan)(height, width, window, shift)


def _slots(plan: WindowPlan, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rolled row and column of every token of every window, in window order; ``windows * tokens`` numbers each."""
    slot = torch.arange(plan.rows * plan.columns * plan.tokens, device=device)
    window, token = slot // plan.tokens, slot % plan.tokens
    row = window // plan.columns * plan.window[0] + token // plan.window[1]
    return row, window % plan.columns * plan.window[1] + token % plan.window[1]


def to_windows(x: Tensor, plan: WindowPlan, value: Tensor | None = None) -> Tensor:
    """Pad a map at the bottom and the right, roll it and cut it: ``B x H x W x C`` to ``(B * windows) x tokens x C``.

    Args:
        x: The map.
        plan: Its plan.
        value: What a padded token holds, ``C`` numbers (gradients reach it); zeros by default.
    """
    batch, height, width, channels = x.shape
    value = x.new_zeros(channels) if value is None else value.to(x.dtype)
    if capturing():
        # One gather: reshapes of rolled and transposed maps would tie the recorded graph to the sizes at hand.
        row, column = _slots(plan, x.device)
        row = (row + plan.shift[0]) % (plan.rows * plan.window[0])
        column = (column + plan.shift[1]) % (plan.columns * plan.window[1])
        source = torch.where((row < height) & (column < width), row * width + column, height * width)
        x = torch.cat([x.reshape(batch, height * width, channels), value.expand(batch, 1, channels)], dim=1)
        return x.index_select(1, source).reshape(batch * plan.rows * plan.columns, plan.tokens, channels)
    if plan.pad_right:
        x = torch.cat([x, value.expand(batch, height, plan.pad_right, channels)], dim=2)
    if plan.pad_bottom:
        x = torch.cat([x, value.expand(batch, plan.pad_bottom, x.shape[2], channels)], dim=1)
    if plan.shifted:
        x = torch.roll(x, (-plan.shift[0], -plan.shift[1]), dims=(1, 2))
    x = x.reshape(batch, plan.rows, plan.window[0], plan.columns, plan.window[1], channels).transpose(2, 3)
    return x.reshape(-1, plan.tokens, channels)


def from_windows(windows: Tensor, plan: WindowPlan) -> Tensor:
    """Undo :func:`to_windows`: ``(B * windows) x tokens x C`` to ``B x H x W x C``."""
    channels = windows.shape[-1]
    if capturing():
        place = torch.arange(plan.height * plan.width, device=windows.device)
        # Not below zero: Inductor stops at remainders of negative numbers here ("VR[-int_oo, oo]").
        down, across = plan.rows * plan.window[0], plan.columns * plan.window[1]
        row = (place // plan.width - plan.shift[0] + down) % down
        column = (place % plan.width - plan.shift[1] + across) % across
        window = row // plan.window[0] * plan.columns + column // plan.window[1]
        token = row % plan.window[0] * plan.window[1] + column % plan.window[1]
        x = windows.reshape(-1, plan.rows * plan.columns * plan.tokens, channels)
        x = x.index_select(1, window * plan.tokens + token)
        return x.reshape(-1, plan.height, plan.width, channels)
    x = windows.reshape(-1, plan.rows, plan.columns, *plan.window, channels).transpose(2, 3)
    x = x.reshape(-1, plan.rows * plan.window[0], plan.columns * plan.window[1], channels)
    if plan.shifted:
        x = torch.roll(x, plan.shift, dims=(1, 2))
    return x[:, : plan.height, : plan.width]


def _region(position: Tensor, length: int, window: int, shift: int) -> Tensor:
    """Which of three regions a position of a padded, rolled side belongs to; one region without a shift."""
    if not shift:
        return torch.zeros_like(position)
    return (position >= length - window).long() + (position >= length - shift).long()


def _region_mask(plan: WindowPlan, device: torch.device, dtype: torch.dtype) -> Tensor:
    row, column = _slots(plan, device)
    region = 3 * _region(row, plan.rows * plan.window[0], plan.window[0], plan.shift[0])
    region = region + _region(column, plan.columns * plan.window[1], plan.window[1], plan.shift[1])
    region = region.reshape(plan.rows * plan.columns, plan.tokens)
    apart = region[:, :, None] != region[:, None, :]
    return apart.to(dtype) * MASKED_SCORE


_masks: OrderedDict[tuple, Tensor] = OrderedDict()
_masks_lock = ForkSafeLock()


def region_mask(plan: WindowPlan, scores: Tensor) -> Tensor | None:
    """What to add to the scores of shifted windows, ``windows x tokens x tokens``: 0, or -100 between regions.

    After the cyclic shift a border window holds tokens that were no neighbours in the map; they must not attend to
    each other (paper, section 3.2, "Efficient batch computation for shifted configuration"). None without a shift.
    The mask has the device and dtype of ``scores``.
    """
    if not plan.shifted:
        return None
    # Symbols and fake tensors must not get into the cache, nor real tensors among them.
    if capturing() or type(scores) is not Tensor:
        return _region_mask(plan, scores.device, scores.dtype)
    key = (plan, scores.device, scores.dtype)
    with _masks_lock:
        if key in _masks:
            _masks.move_to_end(key)
            return _masks[key]
        # A mask made under inference_mode could not be used in a later training step.
        with torch.inference_mode(False):
            mask = _region_mask(plan, scores.device, scores.dtype)
        if lasts(mask) and mask.nbytes <= MASK_CACHE_BYTES:
            _masks[key] = mask
            while sum(one.nbytes for one in _masks.values()) > MASK_CACHE_BYTES:
                _masks.popitem(last=False)
    return mask


def _relative_position_index(window: tuple[int, int], device: torch.device) -> Tensor:
    rows = torch.arange(window[0], device=device).repeat_interleave(window[1])
    columns = torch.arange(window[1], device=device).repeat(window[0])
    delta_rows = rows[:, None] - rows[None, :] + window[0] - 1
    delta_columns = columns[:, None] - columns[None, :] + window[1] - 1
    return delta_rows * (2 * window[1] - 1) + delta_columns


_kept_relative_position_index = kept(64)(_relative_position_index)


def relative_position_index(window: tuple[int, int], table: Tensor) -> Tensor:
    """Row of the bias table for each (query, key) pair of a window, ``tokens x tokens``, int64, beside ``table``.

    The offset query - key = (dr, dc) has row ``(dr + Mr - 1) * (2 Mc - 1) + dc + Mc - 1`` (paper, section 3.2,
    equation 4) of a table with :func:`bias_table_rows` rows.
    """
    if capturing() or type(table) not in (Tensor, torch.nn.Parameter):
        return _relative_position_index(window, table.device)
    return _kept_relative_position_index(window, table.device)


def bias_table_rows(window: tuple[int, int]) -> int:
    """Rows of the relative position bias table of a window."""
    return (2 * window[0] - 1) * (2 * window[1] - 1)


def clear_caches() -> None:
    """Drop the plans, masks and indices that are kept here, to give back their memory."""
    _cached_plan.cache_clear()
    _kept_relative_position_index.clear()
    with _masks_lock:
        _masks.clear()
