"""The two branches of a Swin block in training, on a CPU, a strip at a time.

Kept for backward are the branch's input and q, k, v, or the hidden map before the GELU. All else is computed again, in
backward and a strip at a time too, so that nothing of the size of a map is made but what is kept and the gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.linear import linear
from mmswin.ops.narrow import autocast_type
from mmswin.ops.recompute import gradients_with_graph
from mmswin.ops.strips import TOKENS, strips
from mmswin.ops.window_attention import reference
from mmswin.ops.window_attention.cpu import gradients, mix
from mmswin.ops.windows import WindowPlan


def computes(x: Tensor, *parameters: Tensor | None) -> bool:
    """Whether the branches here compute this: all of one type, float32 or float64, and no autocast."""
    types = {x.dtype, *(parameter.dtype for parameter in parameters if parameter is not None)}
    return len(types) == 1 and x.dtype in (torch.float32, torch.float64) and autocast_type('cpu') is None


def attention_branch(
    x: Tensor,
    norm: tuple[Tensor | None, Tensor | None, float],
    qkv: tuple[Tensor, Tensor | None],
    proj: tuple[Tensor, Tensor | None],
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
) -> Tensor:
    """``proj(attention(qkv(norm(x))))`` (paper, equation 3): ``B x H x W x C`` to the same.

    Args:
        x: The map, not empty.
        norm: Weight and bias of the LayerNorm and its eps.
        qkv: Weight and bias of the projection to q, k and v.
        proj: Weight and bias of the projection of the heads' outputs.
        bias: Relative position bias, ``heads x tokens x tokens``, or None.
        plan: The windows.
        num_heads: Heads; divides C.
        scale: Factor on Q K^T.
    """
    return _Attention.apply(x, *norm[:2], *qkv, *proj, bias, norm[2], plan, num_heads, scale)[0]


def mlp_branch(
    x: Tensor,
    norm: tuple[Tensor | None, Tensor | None, float],
    fc1: tuple[Tensor, Tensor | None],
    approximate: str,
    fc2: tuple[Tensor, Tensor | None],
) -> Tensor:
    """``fc2(gelu(fc1(norm(x))))`` (paper, equation 3): ``... x C`` to the same; arguments as above."""
    return _Mlp.apply(x, *norm[:2], *fc1, *fc2, norm[2], approximate)[0]


class _Sums:
    """Gradients that are sums over strips; those that nobody wants are not computed."""

    def __init__(self, wanted: Sequence[bool]) -> None:
        self.wanted = wanted
        self.totals: list[Tensor | None] = [None] * len(wanted)

    def add(self, number: int, value: Callable[[], Tensor]) -> None:
        if self.wanted[number]:
            total = self.totals[number]
            self.totals[number] = value() if total is None else total.add_(value())

    def add_product(self, number: int, left: Tensor, right: Tensor) -> None:
        """``left.T @ right``."""
        if self.wanted[number]:
            total = self.totals[number]
            self.totals[number] = left.t() @ right if total is None else total.addmm_(left.t(), right)


class _Norm:
    """The LayerNorm of a strip again, and its gradients."""

    def __init__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        self.given = x, x.shape[-1:], weight, bias
        self.out, *self.statistics = torch.native_layer_norm(*self.given, eps)

    def backward(self, grad: Tensor, sums: _Sums, wants_input: bool) -> Tensor | None:
        x, shape, weight, bias = self.given
        wanted = [wants_input, *sums.wanted[1:3]]
        if not any(wanted):
            return None
        of_x, *others = torch.ops.aten.native_layer_norm_backward(
            grad, x, shape, *self.statistics, weight, bias, wanted
        )
        for number, value in enumerate(others, 1):
            sums.add(number, lambda value=value: value)
        return of_x


def _wanted(ctx: Any, tensors: Sequence[Tensor | None]) -> list[bool]:
    return [need and tensor is not None for need, tensor in zip(ctx.needs_input_grad, tensors)]


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(x, norm_weight, norm_bias, weight1, bias1, weight2, bias2, eps, approximate):  # noqa: ANN001, ANN205
        tokens = x.reshape(-1, x.shape[-1])
        hidden, out = tokens.new_empty(len(tokens), len(weight1)), tokens.new_empty(len(tokens), len(weight2))
        for part, h, o in zip(*(t.split(TOKENS) for t in (tokens, hidden, out))):
            linear(F.layer_norm(part, part.shape[-1:], norm_weight, norm_bias, eps), weight1, bias1, out=h)
            linear(F.gelu(h, approximate=approximate), weight2, bias2, out=o)
        return out.view(*x.shape[:-1], -1), hidden

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs[:7], output[1])
        ctx.options = inputs[7:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple:
        *tensors, hidden = ctx.saved_tensors
        eps, approximate = ctx.options
        wanted = _wanted(ctx, tensors)
        x, norm_weight, norm_bias, weight1, _, weight2, _ = tensors
        if torch.is_grad_enabled():

            def module(x, gain, shift, weight1, bias1, weight2, bias2):  # noqa: ANN001, ANN202
                y = F.linear(F.layer_norm(x, x.shape[-1:], gain, shift, eps), weight1, bias1)
                return F.linear(F.gelu(y, approximate=approximate), weight2, bias2)

            return *gradients_with_graph(module(*tensors), tensors, wanted, grad), None, None
        tokens, grads = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        of_tokens = torch.empty_like(tokens) if wanted[0] else None
        sums = _Sums([False, *wanted[1:]])
        first = 0
        for part, h, g in zip(*(t.split(TOKENS) for t in (tokens, hidden, grads))):
            sums.add_product(5, g, F.gelu(h, approximate=approximate))
            sums.add(6, lambda g=g: g.sum(0))
            of_h = torch.ops.aten.gelu_backward(linear(g, weight2.t()), h, approximate=approximate)
            norm = _Norm(part, norm_weight, norm_bias, eps)
            sums.add_product(3, of_h, norm.out)
            sums.add(4, lambda of_h=of_h: of_h.sum(0))
            of_part = norm.backward(linear(of_h, weight1.t()), sums, wanted[0])
            if wanted[0]:
                of_tokens[first : first + len(part)] = of_part
            first += len(part)
        return of_tokens.view(x.shape) if wanted[0] else None, *sums.totals[1:], None, None


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: ANN205
        x, norm_weight, norm_bias, weight, qkv_bias, proj_weight, proj_bias, bias, eps, plan, heads, scale  # noqa: ANN001
    ):
        tokens = x.reshape(-1, x.shape[-1])
        # In the order of the strips, which backward takes up as they lie.
        qkv, out = tokens.new_empty(len(tokens), len(weight)), tokens.new_empty(len(tokens), len(proj_weight))
        first = 0
        for strip in strips(plan, len(x), x.device):
            given = strip.take(tokens)
            rows = qkv[first : first + len(given)]
            first += len(given)
            linear(F.layer_norm(given, given.shape[-1:], norm_weight, norm_bias, eps), weight, qkv_bias, out=rows)
            mixed = strip.of_tokens(mix(strip.in_places(rows, qkv_bias), bias, strip, heads, scale))
            strip.put(linear(mixed, proj_weight, proj_bias), out)
        return out.view(*x.shape[:-1], -1), qkv

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(*inputs[:8], output[1])
        ctx.options = inputs[8:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple:
        *tensors, qkv = ctx.saved_tensors
        eps, plan, heads, scale = ctx.options
        wanted = _wanted(ctx, tensors)
        x, norm_weight, norm_bias, weight, qkv_bias, proj_weight, _, bias = tensors
        if torch.is_grad_enabled():

            def module(x, gain, shift, weight, qkv_bias, proj_weight, proj_bias, bias):  # noqa: ANN001, ANN202
                y = F.linear(F.layer_norm(x, x.shape[-1:], gain, shift, eps), weight, qkv_bias)
                return F.linear(reference.attend(y, qkv_bias, bias, plan, heads, scale, 0.0), proj_weight, proj_bias)

            return *gradients_with_graph(module(*tensors), tensors, wanted, grad), None, None, None, None
        tokens, grads = x.reshape(-1, x.shape[-1]), grad.reshape(-1, grad.shape[-1])
        of_tokens = torch.empty_like(tokens) if wanted[0] else None
        sums = _Sums([False, *wanted[1:]])
        first = 0
        for strip in strips(plan, len(x), x.device):
            given, g = strip.take(tokens), strip.take(grads)
            rows = qkv[first : first + len(given)]
            first += len(given)
            places, of_scores, mixed = gradients(
                *(strip.in_places(rows, qkv_bias), strip.in_places(linear(g, proj_weight.t()))),
                *(bias, strip, heads, scale, sums.wanted[5]),
            )
            if mixed is not None:
                sums.add_product(5, g, strip.of_tokens(mixed))
            sums.add(6, lambda g=g: g.sum(0))
            sums.add(7, lambda s=of_scores, n=strip.windows: s.view(n, heads, *s.shape[1:]).sum(0))
            sums.add(4, lambda places=places: places.sum(0))  # padding is a projection of zeros: the bias
            of_rows = strip.of_tokens(places)
            norm = _Norm(given, norm_weight, norm_bias, eps)
            sums.add_product(3, of_rows, norm.out)
            of_given = norm.backward(linear(of_rows, weight.t()), sums, wanted[0])
            if wanted[0]:
                strip.put(of_given, of_tokens)
        return of_tokens.view(x.shape) if wanted[0] else None, *sums.totals[1:], None, None, None, None
