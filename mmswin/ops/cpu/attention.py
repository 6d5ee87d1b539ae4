"""Window attention with gradients on a CPU, whose backward makes no copies that autograd would.

The gradients of q, k and v are products written side by side into one tensor, which one gather brings back to the map:
no transposed copy, no stacking, no pass for the factor of the scores. A tenth of attention's time in training, forward and
backward together (Swin-T's first stage at 800 x 1344, one AVX2 core: 780 ms a block instead of 870).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmswin.ops.autocast import autocast_to
from mmswin.ops.recompute import gradients_with_graph
from mmswin.ops.window_attention import reference
from mmswin.ops.windows import WindowPlan, from_heads, region_mask, to_heads


def attend(
    qkv: Tensor, pad_value: Tensor | None, bias: Tensor | None, plan: WindowPlan, num_heads: int, scale: float
) -> Tensor:
    """See :func:`mmswin.ops.window_attention.window_attention`; without dropout, of a tensor of torch's own."""
    parts = to_heads(qkv, plan, num_heads, value=pad_value)
    return from_heads(_Attention.apply(parts, bias, region_mask(plan, qkv), scale)[None], plan)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parts: Tensor, bias: Tensor | None, mask: Tensor | None, scale: float) -> Tensor:
        q, k, v = parts.unbind(0)
        weights = reference.attention_weights(q, k, bias, mask, scale)
        ctx.scale = scale
        ctx.save_for_backward(parts, bias, mask, weights)
        return (weights @ v.flatten(0, 1)).view(q.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        parts, bias, mask, weights = ctx.saved_tensors  # once: checkpointing gives them once
        needed = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():

            def modules(parts: Tensor, bias: Tensor | None) -> Tensor:
                return reference.attend_windows(*parts.unbind(0), bias, mask, ctx.scale)

            return *gradients_with_graph(modules, (parts, bias), needed, grad), None, None
        with autocast_to('cpu', None):  # the types are those of forward
            return *_gradients(parts, bias, weights, grad, ctx.scale, needed), None, None


def _gradients(
    parts: Tensor, bias: Tensor | None, weights: Tensor, grad: Tensor, scale: float, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None]:
    q, k, v = parts.flatten(1, 2).unbind(0)
    grad = grad.reshape(v.shape)
    grad_scores = _softmax_gradient(grad @ v.transpose(1, 2), weights)
    grads = None
    if needed[0]:
        grads, zero = torch.empty_like(parts), q.new_zeros(1, 1, 1)
        grad_q, grad_k, grad_v = grads.flatten(1, 2).unbind(0)
        torch.baddbmm(zero, grad_scores, k, beta=0, alpha=scale, out=grad_q)
        torch.baddbmm(zero, grad_scores.transpose(1, 2), q, beta=0, alpha=scale, out=grad_k)
        torch.bmm(weights.transpose(1, 2), grad, out=grad_v)
    return grads, grad_scores.view(-1, *bias.shape).sum(0) if needed[1] else None


def _softmax_gradient(grad: Tensor, weights: Tensor) -> Tensor:
    """The gradient of softmax's input, from that of its output ``weights``; over the last dimension."""
    known = getattr(torch, '_softmax_backward_data', None)  # private: one pass
    if known is not None:
        return known(grad, weights, -1, weights.dtype)
    grad = grad * weights
    return grad.addcmul_(weights, grad.sum(-1, keepdim=True), value=-1)
