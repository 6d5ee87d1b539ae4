"""Fitting of parameters to another window, image size or number of input channels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def _bicubic(grid: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(grid.float(), size=size, mode='bicubic', align_corners=False).to(grid.dtype)


def table_window(rows: int, index: Tensor | None = None) -> tuple[int, int] | None:
    """The window (rows, columns) that a bias table belongs to.

    Args:
        rows: Rows of the table, (2 Mr - 1)(2 Mc - 1).
        index: The table's relative position index, ``(Mr Mc) x (Mr Mc)`` or flat, with which the window need not be
            square.

    Returns:
        The window; None if it cannot be told.
    """
    if index is not None and index.numel() and not index.is_floating_point() and not index.is_complex():
        tokens = math.isqrt(index.numel())
        # Seen from the first token, the index falls by one from column to column and by more to the next row.
        first = index.flatten()[:tokens].long()
        steps = (first[:-1] - first[1:] != 1).nonzero()
        columns = int(steps[0]) + 1 if len(steps) else tokens
        window = tokens // columns, columns
        if (2 * window[0] - 1) * (2 * window[1] - 1) == rows:
            return window
    side = math.isqrt(rows)
    return ((side + 1) // 2,) * 2 if side * side == rows and side % 2 else None


def offset_windows(offsets: Tensor) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The window of a Swin V2's ``relative_coords_table`` and the pretrained window that its offsets are measured in.

    Args:
        offsets: ``1 x (2 Mr - 1) x (2 Mc - 1) x 2``; see :func:`mmswin.ops.windows.log_spaced_offsets`.

    Returns:
        Both as (rows, columns); None if the tensor is no such table. Windows of one token tell no pretrained one.
    """
    if offsets.dim() != 4 or offsets.shape[3] != 2 or not offsets.numel():
        return None
    if not offsets.is_floating_point() or offsets.is_meta:
        return None
    window = (offsets.shape[1] + 1) // 2, (offsets.shape[2] + 1) // 2
    largest = (8.0 ** offsets[0, -1, -1].double() - 1).tolist()
    known = [round(1 + 8 * (side - 1) / most) if most > 1e-6 else side for side, most in zip(window, largest)]
    return window, (known[0], known[1])


def resize_bias_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A relative position bias table for another window, by bicubic interpolation as the authors do.

    Args:
        table: ``(2 Mr - 1)(2 Mc - 1) x heads``.
        old: Its window (rows, columns).
        new: The window wanted.
    """
    heads = table.shape[1]
    grid = table.t().reshape(1, heads, 2 * old[0] - 1, 2 * old[1] - 1)
    return _bicubic(grid, (2 * new[0] - 1, 2 * new[1] - 1)).reshape(heads, -1).t().contiguous()


def sides(size: tuple[int, ...]) -> str:
    """A size in words, such as ``7x7``."""
    return 'x'.join(map(str, size))


def grid_of(embedding: Tensor) -> tuple[int, int] | None:
    """Rows and columns that a position embedding covers; None for a flat one, ``1 x (H W) x C``, that is not square."""
    if embedding.dim() == 4:
        return embedding.shape[2], embedding.shape[3]
    side = math.isqrt(embedding.shape[1])
    return (side, side) if side * side == embedding.shape[1] else None


def spread(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """A position embedding over a grid as ``1 x C x H x W``."""
    return embedding if embedding.dim() == 4 else embedding.transpose(1, 2).unflatten(2, grid).contiguous()


def flat(embedding: Tensor) -> Tensor:
    """A position embedding as ``1 x (H W) x C``."""
    return embedding.flatten(2).transpose(1, 2).contiguous() if embedding.dim() == 4 else embedding


def resize_position_embedding(embedding: Tensor, size: tuple[int, int]) -> Tensor:
    """An absolute position embedding, ``1 x (H W) x C`` (square) or ``1 x C x H x W``, over a grid of ``size``.

    Raises:
        ValueError: A flat embedding over a grid that is not square.
    """
    grid = grid_of(embedding)
    if grid is None and embedding.shape[1] == size[0] * size[1]:
        grid = size
    if grid is None:
        raise ValueError(f'a position embedding of {embedding.shape[1]} patches covers no square grid')
    embedding = spread(embedding, grid)
    return embedding if tuple(embedding.shape[2:]) == tuple(size) else _bicubic(embedding, size)


# What filters of further input channels start from. zeros: the output is that of the channels that the file knows,
# whatever the others show. mean: the average filter. repeat: the filters again in turn, all scaled so that the output
# keeps its size.
CHANNEL_POLICIES = ('zeros', 'mean', 'repeat')


def resize_channels(weight: Tensor, channels: int, policy: str) -> Tensor:
    """A patch projection for another number of input channels.

    More channels than the file's are appended after its own, as the policy says. One channel gets the sum of the
    file's, so that a grey image gives what it gave as three equal channels.

    Args:
        weight: ``C x channels of the file x patch x patch``.
        channels: The number wanted.
        policy: One of :data:`CHANNEL_POLICIES`.

    Raises:
        ValueError: Fewer channels, but more than one.
    """
    have = weight.shape[1]
    # Whole numbers have no mean, and those of eight bits no sum.
    weight = weight if weight.is_floating_point() and weight.dtype.itemsize > 1 else weight.float()
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    if channels < have:
        raise ValueError(
            f'it takes images of {have} channels, and which of them the {channels} are is not known: set '
            f'in_channels={have}'
        )
    if have == 1:
        return weight.expand(-1, channels, -1, -1) / channels
    if policy == 'repeat':
        return weight.repeat(1, -(-channels // have), 1, 1)[:, :channels] * (have / channels)
    new = weight.mean(dim=1, keepdim=True) if policy == 'mean' else weight.new_zeros(())
    return torch.cat([weight, new.expand(weight.shape[0], channels - have, *weight.shape[2:])], dim=1)
