"""Linear layers that keep for backward what was given to the function before them, and not what it made of it.

This is the one place that computes again in backward what was not kept. What stands before a linear layer in a
transformer block (norm, activation, attention) is cheap beside the product and makes tensors as large as it is given:

=====================  =======================  ==========================================
linear layer           before it                kept for each token, in widths C
=====================  =======================  ==========================================
q, k and v             LayerNorm                C: the block's input
projection             window attention         3 C: q, k and v
first of the MLP       LayerNorm                C: the middle of the block
second of the MLP      GELU                     4 C: the hidden map
=====================  =======================  ==========================================

together 9 C, where modules that are called one after the other keep 17 C and the attention weights. Values and
gradients are those of the modules, on every device and under autocast; gradients can be differentiated again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.autocast import autocast_dtype, autocast_to, product_dtype
from mmswin.ops.cpu import products


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    before: Callable[..., Tensor],
    parameters: Sequence[Tensor | None] = (),
) -> Tensor:
    """``F.linear(before(x, *parameters), weight, bias)``, of which only the arguments are kept for backward.

    Args:
        x: What ``before`` is given.
        weight: The linear layer's, ``out x in``.
        bias: The linear layer's.
        before: A function of tensors, without random numbers; returns ``... x in``.
        parameters: Further tensors that it takes; gradients reach them.

    Returns:
        ``... x out``, in the type that autocast or ``x`` gives.
    """
    return _Linear.apply(before, x, weight, bias, *parameters)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        before: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None, *parameters: Any
    ) -> Tensor:
        return products.linear(before(x, *parameters).to(product_dtype(x)), weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.before, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.autocast = autocast_dtype(inputs[1].device.type)
        ctx.dtype = output.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        tensors = ctx.saved_tensors  # once: checkpointing gives them once
        needed = ctx.needs_input_grad[1:]
        if not torch.is_grad_enabled():
            return None, *_gradients(ctx, tensors, needed, grad)

        def modules(x: Tensor, weight: Tensor, bias: Tensor | None, *parameters: Tensor | None) -> Tensor:
            return F.linear(ctx.before(x, *parameters).to(ctx.dtype), weight, bias)

        return None, *gradients_with_graph(modules, tensors, needed, grad, ctx.autocast)


def gradients_with_graph(
    function: Callable[..., Tensor],
    tensors: Sequence[Tensor | None],
    needed: Sequence[bool],
    grad: Tensor,
    autocast: torch.dtype | None = None,
) -> list[Tensor | None]:
    """Gradients that can be differentiated again, of those of ``tensors`` that need one: torch's own.

    Args:
        function: Makes of the tensors what ``grad`` is the gradient of.
        tensors: What it is given.
        needed: Whose gradients are asked for.
        grad: The gradient of what it returns.
        autocast: The type that autocast had in forward.
    """
    # Where one of them was computed from another, torch would go on from the one to the other, but not beyond aliases.
    aliases = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
    with autocast_to(grad.device.type, autocast):
        out = function(*aliases)
    with autocast_to(grad.device.type, None):
        return _gradients_of(out, aliases, needed, grad, create_graph=True)


def _gradients(ctx: Any, tensors: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor) -> list[Tensor | None]:
    x, weight, bias, *parameters = tensors
    needs_x, needs_weight, needs_bias, *needs_parameters = needed
    asked = [needs_x, *needs_parameters]
    inputs = [
        None if tensor is None else tensor.detach().requires_grad_(need)
        for tensor, need in zip((x, *parameters), asked)
    ]
    with torch.set_grad_enabled(any(asked)), autocast_to(grad.device.type, ctx.autocast):
        y = ctx.before(*inputs).to(ctx.dtype)
    rows = grad.reshape(-1, grad.shape[-1])
    grad_weight = grad_bias = None
    with autocast_to(grad.device.type, None):  # the types are those of forward
        if needs_weight:
            grad_weight = products.product(rows.t(), y.detach().reshape(-1, y.shape[-1])).to(weight.dtype)
        if needs_bias:
            grad_bias = rows.sum(0, dtype=bias.dtype)
        grads = [None] * len(inputs)
        if any(asked):
            grad_y = products.linear(rows, weight.to(grad.dtype).t(), None).view(y.shape)
            grads = _gradients_of(y, inputs, asked, grad_y)
    return [grads[0], grad_weight, grad_bias, *grads[1:]]


def _gradients_of(
    out: Tensor, inputs: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor, create_graph: bool = False
) -> list[Tensor | None]:
    """Gradients of those inputs that need one, None for the others."""
    needed = [need and tensor is not None for need, tensor in zip(needed, inputs)]
    asked = [tensor for tensor, need in zip(inputs, needed) if need]
    found = iter(torch.autograd.grad(out, asked, grad, create_graph=create_graph, allow_unused=True))
    return [next(found) if need else None for need in needed]
