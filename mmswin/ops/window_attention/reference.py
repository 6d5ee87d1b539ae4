"""The reference backend: every step of equation 4 written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.windows import WindowPlan, from_windows, region_mask, to_windows


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
    windows = to_windows(qkv, plan, pad_value)  # BW x N x 3C
    count, tokens, width = windows.shape
    q, k, v = windows.reshape(count, tokens, 3, num_heads, width // 3 // num_heads).permute(2, 0, 3, 1, 4).unbind(0)
    scores = (q * scale) @ k.transpose(-2, -1)  # BW x heads x N x N
    if bias is not None:
        scores = scores + bias
    mask = region_mask(plan, scores)
    if mask is not None:
        scores = scores.reshape(-1, mask.shape[0], num_heads, tokens, tokens) + mask[:, None]
        scores = scores.reshape(count, num_heads, tokens, tokens)
    # float16 and bfloat16 scores are summed in float32, as autocast does.
    weights = F.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
    weights = F.dropout(weights, dropout).to(v.dtype) if dropout else weights.to(v.dtype)
    return from_windows((weights @ v).transpose(1, 2).reshape(count, tokens, width // 3), plan)
