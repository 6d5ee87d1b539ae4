"""The sdpa backend: torch's fused scaled_dot_product_attention over partitioned windows.

Unmeasured on a GPU. Its memory-efficient kernels read rows of the added scores that begin at multiples of 16 numbers:
the rows are padded to that in memory, or torch copies them.
"""

import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.windows import WindowPlan, from_heads, region_mask, to_heads

ALIGNMENT = 16


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
    added = None if bias is None else bias.to(q.dtype)[None]
    mask = region_mask(plan, q)
    if mask is not None:
        mask = mask[:, None].expand(-1, num_heads, -1, -1) if added is None else mask[:, None] + added
        added = mask.repeat(len(q) // len(mask), 1, 1, 1)
    if added is not None and added.is_cuda:
        added = F.pad(added, (0, -plan.tokens % ALIGNMENT))[..., : plan.tokens]
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=added, dropout_p=dropout, scale=scale)
    return from_heads(out[None], plan)
