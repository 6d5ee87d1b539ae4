"""The 2x2 neighbours of patch merging, side by side, and back (paper, section 3.1)."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.windows import is_recording


def neighbours(x: Tensor, step: int) -> Tensor:
    """``B x H x W x C`` to ``B x ceil(H / step) x ceil(W / step) x 4C``; beyond the map are zeros.

    The neighbours stand in the order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column). With a step other than 2 the 2x2
    groups overlap or leave gaps.
    """
    batch, _, _, channels = x.shape
    rows, columns, bottom, right = _reach(x, step)
    if is_recording() or bottom or right:
        x = F.pad(x, (0, 0, 0, right, 0, bottom))
    if step == 2:  # one pass over memory, backward too
        x = x.reshape(batch, rows, 2, columns, 2, channels)
        return x.permute(0, 1, 3, 4, 2, 5).reshape(batch, rows, columns, 4 * channels)
    return torch.cat(list(_corners(x, rows, columns, step)), dim=-1)


def _reach(x: Tensor, step: int) -> tuple[int, int, int, int]:
    """Rows and columns of groups, and what is missing for the last ones at the bottom and at the right."""
    # Not -(-side // step): in ONNX, division of symbols rounds toward zero.
    rows, columns = ((side + step - 1) // step for side in x.shape[1:3])
    # The last group starts at (rows - 1) * step and reaches one token further.
    bottom, right = (rows - 1) * step + 2 - x.shape[1], (columns - 1) * step + 2 - x.shape[2]
    if step > 2:  # groups leave gaps, and the last one may end before the map does
        bottom, right = torch.sym_max(bottom, 0), torch.sym_max(right, 0)
    return rows, columns, bottom, right


def _corners(x: Tensor, rows: int, columns: int, step: int) -> Iterator[Tensor]:
    if is_recording():  # slices by steps have sizes that a recorded program does not know
        row, column = (torch.arange(count, device=x.device) * step for count in (rows, columns))
        for c in (0, 1):
            for r in (0, 1):
                yield x.index_select(1, row + r).index_select(2, column + c)
        return
    row_span, column_span = (rows - 1) * step + 1, (columns - 1) * step + 1
    for c in (0, 1):
        for r in (0, 1):
            yield x[:, r : r + row_span : step, c : c + column_span : step]
