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

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad

from mmswin.ops.caches import lru_cache_tensors, register_cache

# The score added between tokens that were no neighbours before the shift. Not -inf: a value of the reference,
# and results must agree with it to rounding.
MASKED_SCORE = -100.0

# Tensors are kept up to this size for each function, the least recently used going first. At 800 x 1333 pixels the
# masks of the four stages need 18 MB; one that alone is larger (images of tens of megapixels) is made again each time.
CACHE_BYTES = 128 * 2**20


class WindowPlan(NamedTuple):
    """How one map is cut into windows.

    Sizes are in tokens. The map is padded at the bottom and the right up to ``rows x columns`` whole windows, then rolled by
    ``shift`` toward the top left.
    """

    height: int
    width: int
    window: tuple[int, int]
    shift: tuple[int, int]
    rows: int
    columns: int

    @property
    def shifted(self) -> bool:
        return any(isinstance(side, torch.SymInt) or side > 0 for side in self.shift)  # a symbol may be 0

    @property
    def tokens(self) -> int:
        """Tokens of one window."""
        return self.window[0] * self.window[1]


def is_recording() -> bool:
    """Whether torch.compile, torch.export or torch.jit.trace records this call, so that sizes may be symbols."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def in_transform() -> bool:
    """Whether a transform of torch.func is at work, on whatever tensors, and no program is recorded."""
    return not is_recording() and getattr(torch._C, '_are_functorch_transforms_active', lambda: False)()  # private


def is_plain(x: Tensor) -> bool:
    """Whether a tensor is one of torch's own, and nothing records, transforms or differentiates forward."""
    forward_level = getattr(forward_ad, '_current_level', -1)  # private
    return type(x) is Tensor and not is_recording() and not in_transform() and forward_level < 0


def _is_abstract(x: Tensor) -> bool:
    """Whether sizes may be symbols, or there are no numbers to look at."""
    return is_recording() or type(x) is not Tensor or x.is_meta


def _plan(height: int, width: int, window: tuple[int, int], shift: tuple[int, int]) -> WindowPlan:
    rows = (height + window[0] - 1) // window[0]
    columns = (width + window[1] - 1) // window[1]
    return WindowPlan(height, width, window, shift, rows, columns)


_cached_plan = lru_cache(maxsize=4096)(_plan)


def window_plan(
    height: int, width: int, window: tuple[int, int], shift: tuple[int, int] = (0, 0), shift_small_maps: bool = True
) -> WindowPlan:
    """The plan for a map of ``height x width`` tokens, at least one each.

    A dimension is always padded to whole windows. The shift is kept on maps no larger than a window in either dimension,
    unless ``shift_small_maps`` is False: the authors' classifiers leave it out there, along both.
    """
    if not shift_small_maps and any(shift):
        larger = exceeds(height, width, window)
        shift = (shift[0] * larger, shift[1] * larger)
    return (_plan if is_recording() else _cached_plan)(height, width, window, shift)


def exceeds(height: int, width: int, window: tuple[int, int]) -> int:
    """1 for a map larger than a window in both dimensions, else 0.

    Where sizes are symbols so is the answer, and the recorded program is for maps of either kind.
    """
    if not isinstance(height, torch.SymInt) and not isinstance(width, torch.SymInt):
        return int(height > window[0] and width > window[1])
    tall, wide = (torch.sym_min(torch.sym_max(side - most, 0), 1) for side, most in zip((height, width), window))
    return tall * wide


def _slots(plan: WindowPlan, device: torch.device) -> tuple[Tensor, Tensor]:
    """Rolled row and column of every token of every window, in window order: broadcast, they have its numbers.

    ``rows x 1 x window rows x 1`` and ``1 x columns x 1 x window columns``. No number is divided by a size of the map,
    which exporters to ONNX and OpenVINO do not write where sizes are symbols.
    """
    row = torch.arange(plan.rows * plan.window[0], device=device).view(plan.rows, 1, plan.window[0], 1)
    column = torch.arange(plan.columns * plan.window[1], device=device).view(1, plan.columns, 1, plan.window[1])
    return row, column


def _rolled(position: Tensor, by: int, length: int) -> Tensor:
    """``(position + by) % length`` of positions below ``length``, with ``by`` from 0 to ``length``."""
    position = position + by
    return torch.where(position < length, position, position - length)


def _sources(plan: WindowPlan, device: torch.device) -> Tensor:
    """The token (row * W + column) in every slot of every window, in window order; ``H * W`` where it is padding."""
    row, column = _slots(plan, device)
    row = _rolled(row, plan.shift[0], plan.rows * plan.window[0])
    column = _rolled(column, plan.shift[1], plan.columns * plan.window[1])
    inside = (row < plan.height) & (column < plan.width)
    return torch.where(inside, row * plan.width + column, plan.height * plan.width).flatten()


def _slots_of_tokens(plan: WindowPlan, device: torch.device) -> Tensor:
    """The slot of every token of a map, counted through its windows, ``H * W``."""
    row, column = torch.arange(plan.height, device=device), torch.arange(plan.width, device=device)
    down, across = plan.rows * plan.window[0], plan.columns * plan.window[1]
    row = _rolled(row, down - plan.shift[0], down)[:, None]
    column = _rolled(column, across - plan.shift[1], across)[None]
    window = row // plan.window[0] * plan.columns + column // plan.window[1]
    return (window * plan.tokens + row % plan.window[0] * plan.window[1] + column % plan.window[1]).flatten()


@lru_cache_tensors(CACHE_BYTES)
def window_tokens(plan: WindowPlan, batch: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Where the tokens of a batch of maps lie in its windows.

    A slot is counted through all windows of the batch, a token through the flattened ``B * H * W``.

    Returns:
        The token in every slot (0 in slots of padding), the slot of every token, and the slots of padding.
    """
    source, size = _sources(plan, device), plan.height * plan.width
    first = torch.arange(batch, device=device)[:, None]
    source = torch.where(source == size, -1, source + first * size).flatten()
    inside = (source >= 0).nonzero().flatten()
    slots = torch.empty(batch * size, dtype=torch.long, device=device)
    slots[source[inside]] = inside
    return source.clamp(min=0), slots, (source < 0).nonzero().flatten()


@lru_cache_tensors(CACHE_BYTES)
def _head_rows(plan: WindowPlan, batch: int, parts: int, heads: int, device: torch.device) -> tuple[Tensor, ...]:
    """Where each head's channels lie in a batch of maps and in its windows.

    A map is read as ``(B * H * W * parts * heads) x head``, windows as ``(parts * B * windows * heads * tokens) x head``.

    Returns:
        For every row of the windows that of the map (any one for padding), for every row of the map that of the
        windows, and the rows of padding, ``parts x slots of padding x heads``.
    """
    source, slots, padding = window_tokens(plan, batch, device)
    head, tokens = torch.arange(heads, device=device)[:, None], plan.tokens
    part = torch.arange(parts, device=device)[:, None, None]

    def rows(slot: Tensor) -> Tensor:
        first = slot // tokens * (heads * tokens) + slot % tokens
        return part * (len(source) * heads) + head * tokens + first

    into = (source.view(-1, 1, tokens) * (parts * heads) + head).flatten() + part[:, 0] * heads
    back = rows(slots).permute(2, 0, 1).flatten()
    small = torch.int32 if into.numel() < 2**31 else torch.int64  # half of the memory
    return into.flatten().to(small), back.to(small), rows(padding).transpose(1, 2)


class _ToHeads(torch.autograd.Function):
    """``(B * H * W) x (parts * heads * head)`` to ``(parts * B * windows * heads * tokens) x head``.

    One pass over memory, backward too.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, value: Tensor, into: Tensor, back: Tensor, padding: Tensor) -> Tensor:
        parts, count, heads = padding.shape
        rows = x.reshape(-1, x.shape[1] // (parts * heads)).index_select(0, into)
        return rows.index_put_((padding,), value.view(parts, 1, heads, -1)) if count else rows

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[2:])
        ctx.save_for_forward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        places = ctx.saved_tensors  # once: checkpointing gives them once
        grad_value = grad[places[2]].sum(1).reshape(-1) if ctx.needs_input_grad[1] else None
        return _FromHeads.apply(grad, *places), grad_value, None, None, None

    @staticmethod
    def jvp(ctx: Any, x: Tensor, value: Tensor | None, *_: None) -> Tensor:
        return _ToHeads.apply(x, x.new_zeros(x.shape[1]) if value is None else value, *ctx.saved_tensors)


class _FromHeads(torch.autograd.Function):
    """The inverse of :class:`_ToHeads`; padding is dropped."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, into: Tensor, back: Tensor, padding: Tensor) -> Tensor:
        return rows.index_select(0, back).view(-1, padding.shape[0] * padding.shape[2] * rows.shape[1])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return _ToHeads.apply(grad, grad.new_zeros(grad.shape[1]), *ctx.saved_tensors), None, None, None

    @staticmethod
    def jvp(ctx: Any, rows: Tensor, *_: None) -> Tensor:
        return _FromHeads.apply(rows, *ctx.saved_tensors)


def to_heads(x: Tensor, plan: WindowPlan, num_heads: int, parts: int = 3, value: Tensor | None = None) -> Tensor:
    """Pad a map at the bottom and the right, roll it, cut it and sort it by heads.

    Args:
        x: The map, ``B x H x W x C`` with channels ordered part x head x head width.
        plan: Its plan.
        num_heads: Heads of each part.
        parts: How many parts the channels have: 3 for q, k and v.
        value: What a padded token holds, ``C`` numbers (gradients reach it); zeros by default.

    Returns:
        ``parts x (B * windows) x heads x tokens x head width``.
    """
    batch, height, width, channels = x.shape
    value = x.new_zeros(channels) if value is None else value.to(x.dtype)
    count, head = batch * plan.rows * plan.columns, channels // parts // num_heads
    if not _is_abstract(x):
        rows = _ToHeads.apply(x.reshape(-1, channels), value, *_head_rows(plan, batch, parts, num_heads, x.device))
        return rows.view(parts, count, num_heads, plan.tokens, head)
    # One gather: reshapes of rolled and transposed maps would tie the recorded graph to the sizes at hand.
    x = torch.cat([x.reshape(batch, height * width, channels), value.expand(batch, 1, channels)], dim=1)
    x = x.index_select(1, _sources(plan, x.device))
    return x.reshape(count, plan.tokens, parts, num_heads, head).permute(2, 0, 3, 1, 4)


def from_heads(windows: Tensor, plan: WindowPlan) -> Tensor:
    """Undo :func:`to_heads`: ``parts x (B * windows) x heads x tokens x head width`` to ``B x H x W x C``."""
    parts, count, heads, _, head = windows.shape
    batch, channels = count // (plan.rows * plan.columns), parts * heads * head
    if not _is_abstract(windows):
        rows = _FromHeads.apply(windows.reshape(-1, head), *_head_rows(plan, batch, parts, heads, windows.device))
        return rows.view(batch, plan.height, plan.width, channels)
    x = windows.permute(1, 3, 0, 2, 4).reshape(batch, plan.rows * plan.columns * plan.tokens, channels)
    x = x.index_select(1, _slots_of_tokens(plan, windows.device))
    return x.reshape(batch, plan.height, plan.width, channels)


def _region(position: Tensor, length: int, window: int, shift: int) -> Tensor:
    """Which of three regions a position of a padded, rolled side belongs to; one region without a shift."""
    if not isinstance(shift, torch.SymInt) and not shift:
        return torch.zeros_like(position)
    return (position >= length - window).long() + (position >= length - shift).long()


def _region_ids(plan: WindowPlan, device: torch.device) -> Tensor:
    """The region of every token of every window, ``windows x tokens``."""
    row, column = _slots(plan, device)
    region = 3 * _region(row, plan.rows * plan.window[0], plan.window[0], plan.shift[0])
    region = region + _region(column, plan.columns * plan.window[1], plan.window[1], plan.shift[1])
    return region.reshape(plan.rows * plan.columns, plan.tokens)


def mask_between(regions: Tensor, dtype: torch.dtype) -> Tensor:
    """``windows x tokens`` regions to the ``windows x tokens x tokens`` that are added to scores: 0, or -100."""
    return (regions[:, :, None] != regions[:, None, :]).to(dtype) * MASKED_SCORE


region_ids = lru_cache_tensors(CACHE_BYTES)(_region_ids)


@lru_cache_tensors(CACHE_BYTES)
def _cached_mask(plan: WindowPlan, device: torch.device, dtype: torch.dtype) -> Tensor:
    return mask_between(_region_ids(plan, device), dtype)


def region_mask(plan: WindowPlan, like: Tensor) -> Tensor | None:
    """What to add to the scores of shifted windows, ``windows x tokens x tokens``: 0, or -100 between regions.

    After the cyclic shift a border window holds tokens that were no neighbours in the map; they must not attend to
    each other (paper, section 3.2, "Efficient batch computation for shifted configuration"). None without a shift.
    The mask has the device and dtype of ``like``.
    """
    if not plan.shifted:
        return None
    # Symbols and fake tensors must not get into the cache, nor real tensors among them.
    if is_recording() or type(like) is not Tensor:
        return mask_between(_region_ids(plan, like.device), like.dtype)
    return _cached_mask(plan, like.device, like.dtype)


def _relative_position_index(window: tuple[int, int], device: torch.device) -> Tensor:
    rows = torch.arange(window[0], device=device).repeat_interleave(window[1])
    columns = torch.arange(window[1], device=device).repeat(window[0])
    delta_rows = rows[:, None] - rows[None, :] + window[0] - 1
    delta_columns = columns[:, None] - columns[None, :] + window[1] - 1
    return delta_rows * (2 * window[1] - 1) + delta_columns


_cached_relative_position_index = lru_cache_tensors(CACHE_BYTES)(_relative_position_index)


def relative_position_index(window: tuple[int, int], table: Tensor) -> Tensor:
    """Row of the bias table for each (query, key) pair of a window, ``tokens x tokens``, int64, next to ``table``.

    The offset query - key = (dr, dc) has row ``(dr + Mr - 1) * (2 Mc - 1) + dc + Mc - 1`` (paper, section 3.2,
    equation 4) of a table with :func:`bias_table_rows` rows.
    """
    if is_recording() or type(table) not in (Tensor, torch.nn.Parameter):
        return _relative_position_index(window, table.device)
    return _cached_relative_position_index(window, table.device)


def relative_position_bias(table: Tensor, window: tuple[int, int]) -> Tensor:
    """``rows x heads`` of a bias table to the ``heads x tokens x tokens`` that are added to scores (paper, eq. 4)."""
    index = relative_position_index(window, table)
    return table[index.flatten()].reshape(*index.shape, table.shape[1]).permute(2, 0, 1).contiguous()


def bias_table_rows(window: tuple[int, int]) -> int:
    """Rows of the relative position bias table of a window."""
    return (2 * window[0] - 1) * (2 * window[1] - 1)


def _log_spaced_offsets(window: tuple[int, int], pretrained: tuple[int, int], device: torch.device) -> Tensor:
    sides = []
    for side, known in zip(window, pretrained):
        offsets = torch.arange(1 - side, side, device=device, dtype=torch.float32)
        offsets = offsets / max(known - 1, 1) * 8
        sides.append(offsets.sign() * torch.log2(offsets.abs() + 1) / 3)
    return torch.cartesian_prod(*sides)


_cached_log_spaced_offsets = lru_cache_tensors(CACHE_BYTES)(_log_spaced_offsets)


def log_spaced_offsets(window: tuple[int, int], pretrained: tuple[int, int], like: Tensor) -> Tensor:
    """Offsets between the tokens of a window, from which a network makes its bias table (V2, section 3.3, equation 4).

    An offset of as many tokens as reach from side to side of the pretrained window is 8 before its logarithm is taken, and
    about 1 after. They are computed in float32, as all implementations keep them.

    Returns:
        ``bias_table_rows(window) x 2``, in the order of :func:`relative_position_index`, with the type of ``like``.
    """
    real = type(like) in (Tensor, torch.nn.Parameter) and not is_recording()
    make = _cached_log_spaced_offsets if real else _log_spaced_offsets
    return make(window, pretrained, like.device).to(like.dtype)


register_cache(_cached_plan.cache_clear)
