"""The reference backend: every step of equation 4 written out."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.cpu.products import unsafe_view
from mmswin.ops.windows import WindowPlan, from_heads, in_transform, is_recording, region_mask, to_heads


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
    q, k, v = to_heads(qkv, plan, num_heads, value=pad_value).unbind(0)
    return from_heads(attend_windows(q, k, v, bias, region_mask(plan, q), scale, dropout)[None], plan)


def attend_windows(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None, scale: float, dropout: float = 0.0
) -> Tensor:
    """softmax(scale * Q K^T + bias + mask) V of windows that are cut already (paper, section 3.2, equation 4).

    Args:
        q: Queries, ``(B * windows) x heads x tokens x head width``.
        k: Keys, of the same shape.
        v: Values, of the same shape.
        bias: ``heads x tokens x tokens``, or None.
        mask: ``windows x tokens x tokens``, or None.
        scale: Factor on Q K^T.
        dropout: Probability of dropping an attention weight.

    Returns:
        Of the shape of ``q``.
    """
    weights = attention_weights(q, k, bias, mask, scale)
    weights = F.dropout(weights, dropout) if dropout else weights
    return (weights.to(v.dtype) @ v.flatten(0, 1)).view(q.shape)


def attention_weights(q: Tensor, k: Tensor, bias: Tensor | None, mask: Tensor | None, scale: float) -> Tensor:
    """softmax(scale * Q K^T + bias + mask), ``(B * windows * heads) x tokens x tokens``; see :func:`attend_windows`."""
    count, heads, tokens, _ = q.shape
    q, k = q.flatten(0, 1), k.flatten(0, 1)
    scores = torch.baddbmm(q.new_zeros(1, 1, 1), q, k.transpose(1, 2), beta=0, alpha=scale)  # no pass for the factor
    # float16 and bfloat16 scores are summed in float32, as autocast does.
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    # Under vmap the bias may be of many models, where the scores are of one.
    add = torch.add if in_transform() else Tensor.add_
    if bias is not None:
        scores = add(_unshared(scores, (count, heads, tokens, tokens)), bias)
    if mask is not None:
        windows = mask.shape[0]
        scores = add(_unshared(scores, (count // windows, windows, heads, tokens, tokens)), mask[:, None])
    return F.softmax(scores, dim=-1).view(count * heads, tokens, tokens)


def _unshared(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """``x.view(shape)``, which backward of a change in place does not copy as it does for a view."""
    return x.view(shape) if is_recording() else unsafe_view(x, shape)
