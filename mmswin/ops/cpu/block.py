"""A Swin block without gradients, on a CPU, in place and a strip at a time.

All that lies between a block's input and its output stays in the cache: fresh memory of the size of a map, which the
system has to clear page by page, is asked for nowhere. Values are those of the modules up to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.cpu.attention import mix
from mmswin.ops.cpu.chunks import Strip, strips
from mmswin.ops.cpu.linear import linear
from mmswin.ops.cpu.parallel import compute, cut
from mmswin.ops.windows import WindowPlan


class Norm(NamedTuple):
    """A LayerNorm over the last axis."""

    weight: Tensor | None
    bias: Tensor | None
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.eps)


class Linear(NamedTuple):
    """A linear layer, ``out x in``."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def attention_(
    x: Tensor,
    out: Tensor,
    norm: Norm,
    qkv: Linear,
    proj: Linear,
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
) -> None:
    """``out = x + proj(attention(qkv(norm(x))))`` (paper, equation 3); ``out`` may be ``x`` itself.

    Args:
        x: ``B x H x W x C``.
        out: Of the same shape, contiguous.
        norm: The block's first norm.
        qkv: Projection to q, k and v.
        proj: Projection of the heads' outputs.
        bias: Relative position bias, ``heads x tokens x tokens``, or None.
        plan: The windows.
        num_heads: Heads; divides C.
        scale: Factor on Q K^T.
    """
    tokens, written = x.reshape(-1, x.shape[3]), out.view(-1, out.shape[3])

    def one(strip: Strip) -> None:
        given = strip.take(tokens)
        places = strip.in_places(qkv(norm(given)), qkv.bias)
        mixed = strip.of_tokens(mix(places, bias, strip, num_heads, scale))
        strip.put(_sum(given, proj(mixed), out.dtype), written)

    parts = strips(plan, len(x), x.device)
    compute(one, parts, parts.threads)


def _sum(x: Tensor, branch: Tensor, dtype: torch.dtype) -> Tensor:
    return branch.add_(x) if branch.dtype == dtype else (x + branch).to(dtype)


def mlp_(x: Tensor, norm: Norm, fc1: Linear, approximate: str, fc2: Linear) -> None:
    """``x += fc2(gelu(fc1(norm(x))))`` (paper, equation 3), in place on a contiguous ``B x H x W x C``."""

    def one(part: Tensor) -> None:
        hidden = fc1(norm(part))
        part += fc2(torch.ops.aten.gelu_(hidden, approximate=approximate))

    tokens = x.view(-1, x.shape[-1])
    parts, threads = cut(len(tokens), x.device)
    compute(one, tokens.tensor_split(parts), threads)
