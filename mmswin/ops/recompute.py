"""Linear layers behind a LayerNorm or a GELU that keep the input of the pair for backward and not what lies between.

A training step of a Swin block keeps its input, q, k, v, the attention's output, the middle of the block and the hidden
map before the GELU; what the norms and the GELU gave is computed again. Values and gradients are those of the modules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.cpu.linear import linear
from mmswin.ops.low_precision import autocast_of, autocast_type, product
from mmswin.ops.merging import neighbours, neighbours_backward


def norm_linear(
    x: Tensor,
    norm: tuple[Tensor | None, Tensor | None, float],
    weight: Tensor,
    bias: Tensor | None,
    merged: int | None = None,
) -> Tensor:
    """``linear(layer_norm(x))``: ``... x in`` to ``... x out``.

    Args:
        x: The map.
        norm: Weight and bias of the LayerNorm over the last axis, and its eps.
        weight: The linear layer's, ``out x in``.
        bias: The linear layer's.
        merged: A step; then it is ``linear(layer_norm(neighbours(x, merged)))``, see :mod:`mmswin.ops.merging`.
    """
    return _NormLinear.apply(x, norm[0], norm[1], weight, bias, norm[2], merged)


def gelu_linear(x: Tensor, weight: Tensor, bias: Tensor | None, approximate: str = 'none') -> Tensor:
    """``linear(gelu(x))``: ``... x in`` to ``... x out``."""
    return _GeluLinear.apply(x, weight, bias, approximate)


def _autocast_type(x: Tensor) -> torch.dtype | None:
    return None if x.dtype == torch.float64 else autocast_type(x.device.type)  # which autocast leaves as it is


def _product_type(x: Tensor) -> torch.dtype:
    return _autocast_type(x) or x.dtype


def _remember(ctx: Any, tensors: list[Tensor | None]) -> None:
    ctx.save_for_backward(*tensors)
    ctx.autocast = _autocast_type(tensors[0])


def of_shape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x.view(shape)``, for a ``torch.autograd.Function`` to return: nobody could change a view in place."""
    return torch.ops.aten._unsafe_view(x, shape)


def _normed(x: Tensor, norm_weight: Tensor | None) -> Tensor:
    """What the LayerNorm is given: not every device has one for maps of half the width of its weights."""
    return x if norm_weight is None else x.to(torch.promote_types(x.dtype, norm_weight.dtype))


def _linear_gradients(
    grad: Tensor, y: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of y, weight and bias of ``y @ weight.T + bias``; all of ``rows``."""
    with autocast_of(grad.device.type, None):  # the types are those of forward
        of_y = linear(grad, weight.to(grad.dtype).t()) if wanted[0] else None
        of_weight = product(grad.t(), y).to(weight.dtype) if wanted[1] else None
    of_bias = grad.sum(0, dtype=weight.dtype) if wanted[2] else None
    return of_y, of_weight, of_bias


def gradients_with_graph(
    function: Callable[..., Tensor],
    tensors: Sequence[Tensor | None],
    needs: Sequence[bool],
    grad: Tensor,
    autocast: torch.dtype | None = None,
) -> list[Tensor | None]:
    """Gradients, which can be differentiated again, of those of ``tensors`` that need one: torch's own.

    Args:
        function: Makes of the tensors what ``grad`` is the gradient of.
        tensors: What it is given.
        needs: Whose gradients are asked for.
        grad: The gradient of what it returns.
        autocast: The type that autocast had in forward.
    """
    wanted = [need and tensor is not None for tensor, need in zip(tensors, needs)]
    # Where one of them was computed from another, torch would go on from the one to the other, but not beyond aliases.
    aliases = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
    with autocast_of(grad.device.type, autocast):
        out = function(*aliases)
    asked = [alias for alias, want in zip(aliases, wanted) if want]
    with autocast_of(grad.device.type, None):
        found = iter(torch.autograd.grad(out, asked, grad, create_graph=True, allow_unused=True))
    return [next(found) if want else None for want in wanted]


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor,
        norm_weight: Tensor | None,
        norm_bias: Tensor | None,
        weight: Tensor,
        bias: Tensor | None,
        eps: float,
        merged: int | None,
    ) -> Tensor:
        x = _merged(x, merged)
        y = F.layer_norm(_normed(x, norm_weight), x.shape[-1:], norm_weight, norm_bias, eps).to(_product_type(x))
        return of_shape(linear(y.reshape(-1, y.shape[-1]), weight, bias), (*x.shape[:-1], len(weight)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.eps, ctx.merged = inputs
        _remember(ctx, tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        tensors = ctx.saved_tensors  # once: checkpointing gives them once
        given, norm_weight, norm_bias, weight, bias = tensors
        needs, eps, merged = ctx.needs_input_grad, ctx.eps, ctx.merged
        if torch.is_grad_enabled():

            def modules(x, gain, shift, weight, bias):  # noqa: ANN001, ANN202
                x = _merged(x, merged)
                return F.linear(F.layer_norm(x, x.shape[-1:], gain, shift, eps), weight, bias)

            return *gradients_with_graph(modules, tensors, needs, grad, ctx.autocast), None, None
        x = _merged(given, merged)
        shape = x.shape[-1:]
        normed = _normed(x, norm_weight)
        y, mean, scale = torch.native_layer_norm(normed, shape, norm_weight, norm_bias, eps)
        y = y.to(ctx.autocast or x.dtype).view(-1, y.shape[-1])
        of_y, of_weight, of_bias = _linear_gradients(
            grad.reshape(-1, grad.shape[-1]), y, weight, (any(needs[:3]), needs[3], needs[4])
        )
        del y
        of_norm = (None, None, None)
        if of_y is not None:
            of_x, *of_norm = torch.ops.aten.native_layer_norm_backward(
                of_y.view(x.shape).to(normed.dtype), normed, shape, mean, scale, norm_weight, norm_bias, list(needs[:3])
            )
            if of_x is not None:
                of_x = of_x.to(x.dtype)
                of_x = of_x if merged is None else neighbours_backward(of_x, given, merged)
            of_norm = (of_x, *of_norm)
        return *of_norm, of_weight, of_bias, None, None


def _merged(x: Tensor, step: int | None) -> Tensor:
    return x if step is None else neighbours(x, step)


class _GeluLinear(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, approximate: str) -> Tensor:
        y = F.gelu(x, approximate=approximate).to(_product_type(x))
        return of_shape(linear(y.reshape(-1, y.shape[-1]), weight, bias), (*x.shape[:-1], len(weight)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.approximate = inputs
        _remember(ctx, tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        tensors = ctx.saved_tensors
        x, weight, bias = tensors
        needs, approximate = ctx.needs_input_grad, ctx.approximate
        if torch.is_grad_enabled():

            def modules(x, weight, bias):  # noqa: ANN001, ANN202
                return F.linear(F.gelu(x, approximate=approximate), weight, bias)

            return *gradients_with_graph(modules, tensors, needs, grad, ctx.autocast), None
        y = F.gelu(x, approximate=approximate).to(ctx.autocast or x.dtype).reshape(-1, x.shape[-1])
        of_y, of_weight, of_bias = _linear_gradients(grad.reshape(-1, grad.shape[-1]), y, weight, needs[:3])
        del y
        of_x = None
        if of_y is not None:
            of_x = torch.ops.aten.gelu_backward(of_y.view(x.shape).to(x.dtype), x, approximate=approximate)
        return of_x, of_weight, of_bias, None
