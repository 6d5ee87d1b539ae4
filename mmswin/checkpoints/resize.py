"""Resizing of position parameters to another window or image size (bicubic, as the authors do)."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor


def _bicubic(grid: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(grid.float(), size=size, mode='bicubic', align_corners=False).to(grid.dtype)


def table_window(rows: int) -> tuple[int, int] | None:
    """The square window that a bias table with so many rows belongs to; None if there is none."""
    side = math.isqrt(rows)
    return ((side + 1) // 2,) * 2 if side * side == rows and side % 2 else None


def resize_bias_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A relative position bias table for another window: ``(2 Mr - 1)(2 Mc - 1) x heads`` for each (rows, columns)."""
    heads = table.shape[1]
    grid = table.t().reshape(1, heads, 2 * old[0] - 1, 2 * old[1] - 1)
    return _bicubic(grid, (2 * new[0] - 1, 2 * new[1] - 1)).reshape(heads, -1).t().contiguous()


def resize_position_embedding(embedding: Tensor, size: tuple[int, int]) -> Tensor:
    """An absolute position embedding, ``1 x (H W) x C`` (square) or ``1 x C x H x W``, over a grid of ``size``.

    Raises:
        ValueError: A flat embedding over a grid that is not square.
    """
    if embedding.dim() == 3:
        side = math.isqrt(embedding.shape[1])
        if side * side != embedding.shape[1]:
            # Not square, and its sides are not recorded: take it only if it covers just the grid asked for.
            if embedding.shape[1] != size[0] * size[1]:
                raise ValueError(f'a position embedding of {embedding.shape[1]} patches covers no square grid')
            return embedding.transpose(1, 2).reshape(1, embedding.shape[2], *size)
        embedding = embedding.transpose(1, 2).reshape(1, embedding.shape[2], side, side)
    return embedding if tuple(embedding.shape[2:]) == tuple(size) else _bicubic(embedding, size)
