"""The sdpa backend: torch's fused scaled_dot_product_attention over partitioned windows."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.windows import WindowPlan, pad, partition, region_mask, reverse


def attend(
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
    dropout: float,
) -> Tensor:
    """See :func:`mmswin.ops.window_attention.window_attention`."""
    windows = partition(pad(qkv, plan, pad_value), plan)  # BW x N x 3C
    count, tokens, width = windows.shape
    q, k, v = windows.reshape(count, tokens, 3, num_heads, width // 3 // num_heads).permute(2, 0, 3, 1, 4).unbind(0)
    added = None if bias is None else bias.to(q.dtype)[None]
    mask = region_mask(plan, q)
    if mask is not None:
        mask = mask[:, None].expand(-1, num_heads, -1, -1) if added is None else mask[:, None] + added
        added = mask.repeat(count // mask.shape[0], 1, 1, 1)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=added, dropout_p=dropout, scale=scale)
    return reverse(out.transpose(1, 2).reshape(count, tokens, width // 3), plan)
