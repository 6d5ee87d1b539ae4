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
    windows = to_windows(qkv, plan, pad_value)
    return from_windows(attend_windows(windows, bias, region_mask(plan, windows), num_heads, scale, dropout), plan)


def attend_windows(
    windows: Tensor, bias: Tensor | None, mask: Tensor | None, num_heads: int, scale: float, dropout: float = 0.0
) -> Tensor:
    """softmax(scale * Q K^T + bias + mask) V of windows that are cut already (paper, section 3.2, equation 4).

    Args:
        windows: ``(B * windows) x tokens x 3C``.
        bias: ``heads x tokens x tokens``, or None.
        mask: ``windows x tokens x tokens``, or None.
        num_heads: Heads; divides C.
        scale: Factor on Q K^T.
        dropout: Probability of dropping an attention weight.

    Returns:
        ``(B * windows) x tokens x C``.
    """
    count, tokens, width = windows.shape
    head = width // 3 // num_heads
    windows = windows.reshape(count, tokens, 3, num_heads, head).permute(2, 0, 3, 1, 4)
    q, k, v = windows.reshape(3, count * num_heads, tokens, head).unbind(0)
    scores = torch.baddbmm(q.new_zeros(1, 1, 1), q, k.transpose(1, 2), beta=0, alpha=scale)  # no pass for the factor
    scores = scores.view(count, num_heads, tokens, tokens)
    # float16 and bfloat16 scores are summed in float32, as autocast does.
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if bias is not None:
        scores = scores.add_(bias)
    if mask is not None:
        scores.view(-1, mask.shape[0], num_heads, tokens, tokens).add_(mask[:, None])
    weights = F.softmax(scores, dim=-1)
    weights = F.dropout(weights, dropout) if dropout else weights
    mixed = weights.to(v.dtype).view(-1, tokens, tokens) @ v
    return mixed.view(count, num_heads, tokens, head).transpose(1, 2).reshape(count, tokens, width // 3)
