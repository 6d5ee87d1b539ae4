"""A Swin block without gradients, on a CPU, as one operator that torch.compile takes as it is: ``mmswin::cpu_block``.

It runs the code that runs uncompiled, in strips, instead of what a compiler makes of gathers over whole maps. Sizes are
read when it runs, so that a recorded program holds for any.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmswin.ops.cpu import block as cpu_block
from mmswin.ops.windows import window_plan

# Since torch 2.7.
AVAILABLE = hasattr(torch.library, 'custom_op') and hasattr(torch.compiler, 'is_exporting')


def recorded_here() -> bool:
    """Whether torch.compile records this call, and not torch.export or torch.jit.trace, for programs that travel."""
    return AVAILABLE and torch.compiler.is_compiling() and not torch.compiler.is_exporting()


if AVAILABLE:

    @torch.library.custom_op('mmswin::cpu_block', mutates_args=())
    def block(
        x: Tensor,
        norms: Sequence[Tensor],
        weights: Sequence[Tensor],
        qkv_bias: Tensor | None,
        biases: Sequence[Tensor],
        bias: Tensor | None,
        window: Sequence[int],
        shift: Sequence[int],
        num_heads: int,
        scale: float,
        eps: Sequence[float],
        approximate: str,
        autocast: torch.dtype | None,
    ) -> Tensor:
        """A block, ``B x H x W x C`` to the same; see :mod:`mmswin.ops.cpu.block`.

        Args:
            x: The map.
            norms: Weight and bias of the first norm, then of the second.
            weights: Of the projections qkv, proj, fc1 and fc2.
            qkv_bias: Of the projection to q, k and v.
            biases: Of proj, fc1 and fc2.
            bias: Relative position bias, ``heads x tokens x tokens``.
            window, shift, num_heads, scale: See :func:`mmswin.ops.window_attention.window_attention`.
            eps: Of both norms.
            approximate: GELU's.
            autocast: Type that matrix products are taken in, None for that of ``x``.
        """
        out = torch.empty_like(x, memory_format=torch.contiguous_format)
        plan = window_plan(x.shape[1], x.shape[2], (window[0], window[1]), (shift[0], shift[1]))
        first, second = cpu_block.Norm(*norms[:2], eps[0]), cpu_block.Norm(*norms[2:], eps[1])
        qkv, proj, fc1, fc2 = map(cpu_block.Linear, weights, (qkv_bias, *biases))
        with torch.no_grad(), torch.autocast('cpu', dtype=autocast, enabled=autocast is not None):
            cpu_block.attention_(x, out, first, qkv, proj, bias, plan, num_heads, scale)
            cpu_block.mlp_(out, second, fc1, approximate, fc2)
        return out

    @block.register_fake
    def _(x: Tensor, *others: object) -> Tensor:
        return torch.empty_like(x, memory_format=torch.contiguous_format)
