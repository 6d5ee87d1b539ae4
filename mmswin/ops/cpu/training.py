"""The two halves of a Swin block in training, branch and sum, on a CPU, a strip at a time.

Kept for backward are the input and q, k, v, or the hidden map before the GELU. All else is computed again, in backward
and a strip at a time too, so that nothing of the size of a map is made but what is kept and the gradients. For images
that stochastic depth drops nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.cpu.attention import gradients, in_order, mix
from mmswin.ops.cpu.chunks import Strip, strips
from mmswin.ops.cpu.linear import linear
from mmswin.ops.cpu.parallel import compute, cut
from mmswin.ops.cpu.sums import Sums, summed
from mmswin.ops.low_precision import autocast_of, autocast_type
from mmswin.ops.recompute import gradients_with_graph, of_shape
from mmswin.ops.window_attention import reference
from mmswin.ops.windows import WindowPlan


def computes(x: Tensor, *parameters: Tensor | None) -> bool:
    """Whether the branches here compute this: all of one type, float32 or float64, and no autocast."""
    types = {x.dtype, *(parameter.dtype for parameter in parameters if parameter is not None)}
    return len(types) == 1 and x.dtype in (torch.float32, torch.float64) and autocast_type('cpu') is None


def attention_residual(
    x: Tensor,
    norm: tuple[Tensor | None, Tensor | None, float],
    qkv: tuple[Tensor, Tensor | None],
    proj: tuple[Tensor, Tensor | None],
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
    kept: Tensor | None = None,
    factor: float = 1.0,
) -> Tensor:
    """``x + factor * proj(attention(qkv(norm(x))))`` (paper, equation 3): ``B x H x W x C`` to the same.

    Args:
        x: The map, not empty.
        norm: Weight and bias of the LayerNorm and its eps.
        qkv: Weight and bias of the projection to q, k and v.
        proj: Weight and bias of the projection of the heads' outputs.
        bias: Relative position bias, ``heads x tokens x tokens``, or None.
        plan: The windows.
        num_heads: Heads; divides C.
        scale: Factor on Q K^T.
        kept: Numbers of the images that have a branch, ascending; the others are returned as they are. All if None.
        factor: On the branch.
    """
    return _Attention.apply(
        *(x, *norm[:2], *qkv, *proj, in_order(bias)), norm[2], plan, num_heads, scale, kept, factor
    )[0]


def mlp_residual(
    x: Tensor,
    norm: tuple[Tensor | None, Tensor | None, float],
    fc1: tuple[Tensor, Tensor | None],
    approximate: str,
    fc2: tuple[Tensor, Tensor | None],
    kept: Tensor | None = None,
    factor: float = 1.0,
) -> Tensor:
    """``x + factor * fc2(gelu(fc1(norm(x))))`` (paper, equation 3): ``B x ... x C`` to the same; arguments as above."""
    return _Mlp.apply(x, *norm[:2], *fc1, *fc2, norm[2], approximate, kept, factor)[0]


class _Norm:
    """The LayerNorm of a strip again, and its gradients."""

    def __init__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        self.given = x, x.shape[-1:], weight, bias
        self.out, *self.statistics = torch.native_layer_norm(*self.given, eps)

    def backward(self, grad: Tensor, sums: Sums, wants_input: bool) -> Tensor | None:
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


def _take(x: Tensor, kept: Tensor | None) -> Tensor:
    """Tokens of the images that are kept."""
    return (x if kept is None else x.index_select(0, kept)).reshape(-1, x.shape[-1])


def _put(tokens: Tensor, x: Tensor, kept: Tensor | None) -> Tensor:
    """A map like ``x`` with these tokens in the images that are kept."""
    if kept is None:
        return of_shape(tokens, x.shape)
    return x.clone(memory_format=torch.contiguous_format).index_copy_(0, kept, tokens.view(-1, *x.shape[1:]))


def _sums_or_zeros(
    work: Callable[[range], Sums], parts: Sequence, threads: int, tensors: Sequence[Tensor | None], wanted: list[bool]
) -> list[Tensor | None]:
    """Sums over all parts, zeros without any; the first of ``tensors`` is the map, which has none."""
    sums = summed(work, len(parts), threads) if parts else [None] * len(tensors)
    pairs = list(zip(sums, tensors, wanted))[1:]
    return [torch.zeros_like(t) if want and value is None else value for value, t, want in pairs]


def _as_in_forward(backward: Callable[..., list[Tensor | None]]) -> Callable[..., tuple]:
    """Without autocast, whatever the caller of backward has, and with None for what is no tensor."""

    def whole(ctx: Any, grad: Tensor | None, _: None) -> tuple:
        with autocast_of('cpu', None):
            found = [] if grad is None else backward(ctx, grad)
        return *found, *(None,) * (len(ctx.needs_input_grad) - len(found))

    return whole


class _Mlp(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: ANN205
        x,
        norm_weight,
        norm_bias,
        weight1,
        bias1,
        weight2,
        bias2,
        eps,
        approximate,
        kept,
        factor,  # noqa: ANN001
    ):
        tokens = _take(x, kept)
        hidden, out = tokens.new_empty(len(tokens), len(weight1)), torch.empty_like(tokens)

        def one(part: tuple[Tensor, Tensor, Tensor]) -> None:
            given, h, o = part
            linear(F.layer_norm(given, given.shape[-1:], norm_weight, norm_bias, eps), weight1, bias1, out=h)
            linear(F.gelu(h, approximate=approximate), weight2, bias2, out=o)
            torch.add(given, o, alpha=factor, out=o)

        compute(one, *_cut(tokens, hidden, out))
        return _put(out, x, kept), hidden

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # or backward would be given a map of zeros for it
        ctx.save_for_backward(*inputs[:7], output[1])
        ctx.options = inputs[7:]

    @staticmethod
    @_as_in_forward
    def backward(ctx: Any, grad: Tensor) -> list[Tensor | None]:
        *tensors, hidden = ctx.saved_tensors
        eps, approximate, kept, factor = ctx.options
        wanted = _wanted(ctx, tensors)
        x, norm_weight, norm_bias, weight1, _, weight2, _ = tensors
        if torch.is_grad_enabled():

            def module(x, gain, shift, weight1, bias1, weight2, bias2):  # noqa: ANN001, ANN202
                y = F.linear(F.layer_norm(x, x.shape[-1:], gain, shift, eps), weight1, bias1)
                return F.linear(F.gelu(y, approximate=approximate), weight2, bias2)

            return _again(module, tensors, wanted, grad, kept, factor)
        tokens, grads = _take(x, kept), _take(grad, kept)
        of_tokens = torch.empty_like(tokens) if wanted[0] else tokens
        parts, threads = _cut(tokens, hidden, grads, of_tokens)

        def some(numbers: range) -> Sums:
            sums = Sums([False, *wanted[1:]])
            for given, h, of_out, of_given in (parts[number] for number in numbers):
                g = of_out if factor == 1 else of_out * factor
                sums.add_product(5, g, F.gelu(h, approximate=approximate))
                sums.add(6, lambda g=g: g.sum(0))
                of_h = torch.ops.aten.gelu_backward(linear(g, weight2.t()), h, approximate=approximate)
                norm = _Norm(given, norm_weight, norm_bias, eps)
                sums.add_product(3, of_h, norm.out)
                sums.add(4, lambda of_h=of_h: of_h.sum(0))
                found = norm.backward(linear(of_h, weight1.t()), sums, wanted[0])
                if wanted[0]:
                    torch.add(of_out, found, out=of_given)
            return sums

        others = _sums_or_zeros(some, parts, threads, tensors, wanted)
        return [_put(of_tokens, grad, kept) if wanted[0] else None, *others]


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: ANN205
        x,
        norm_weight,
        norm_bias,
        weight,
        qkv_bias,
        proj_weight,
        proj_bias,
        bias,
        eps,
        plan,
        heads,
        scale,
        kept,
        factor,  # noqa: ANN001
    ):
        tokens = _take(x, kept)
        # In the order of the strips, which backward takes up as they lie.
        qkv, out = tokens.new_empty(len(tokens), len(weight)), torch.empty_like(tokens)

        def one(strip: Strip) -> None:
            given, rows = strip.take(tokens), strip.rows_of(qkv)
            linear(F.layer_norm(given, given.shape[-1:], norm_weight, norm_bias, eps), weight, qkv_bias, out=rows)
            mixed = strip.of_tokens(mix(strip.in_places(rows, qkv_bias), bias, strip, heads, scale))
            strip.put(given.add_(linear(mixed, proj_weight, proj_bias), alpha=factor), out)

        parts = strips(plan, _images(x, kept), x.device)
        compute(one, parts, parts.threads)
        return _put(out, x, kept), qkv

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.set_materialize_grads(False)  # or backward would be given a map of zeros for it
        ctx.save_for_backward(*inputs[:8], output[1])
        ctx.options = inputs[8:]

    @staticmethod
    @_as_in_forward
    def backward(ctx: Any, grad: Tensor) -> list[Tensor | None]:
        *tensors, qkv = ctx.saved_tensors
        eps, plan, heads, scale, kept, factor = ctx.options
        wanted = _wanted(ctx, tensors)
        x, norm_weight, norm_bias, weight, qkv_bias, proj_weight, _, bias = tensors
        if torch.is_grad_enabled():

            def module(x, gain, shift, weight, qkv_bias, proj_weight, proj_bias, bias):  # noqa: ANN001, ANN202
                y = F.linear(F.layer_norm(x, x.shape[-1:], gain, shift, eps), weight, qkv_bias)
                return F.linear(reference.attend(y, qkv_bias, bias, plan, heads, scale, 0.0), proj_weight, proj_bias)

            return _again(module, tensors, wanted, grad, kept, factor)
        tokens, grads = _take(x, kept), _take(grad, kept)
        of_tokens = torch.empty_like(tokens) if wanted[0] else None
        parts = strips(plan, _images(x, kept), x.device)

        def some(numbers: range) -> Sums:
            sums = Sums([False, *wanted[1:]])
            for strip in (parts[number] for number in numbers):
                given, of_out, rows = strip.take(tokens), strip.take(grads), strip.rows_of(qkv)
                g = of_out if factor == 1 else of_out * factor
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
                found = norm.backward(linear(of_rows, weight.t()), sums, wanted[0])
                if wanted[0]:
                    strip.put(of_out.add_(found), of_tokens)
            return sums

        others = _sums_or_zeros(some, parts, parts.threads, tensors, wanted)
        return [_put(of_tokens, grad, kept) if wanted[0] else None, *others]


def _wanted(ctx: Any, tensors: Sequence[Tensor | None]) -> list[bool]:
    return [need and tensor is not None for need, tensor in zip(ctx.needs_input_grad, tensors)]


def _images(x: Tensor, kept: Tensor | None) -> int:
    return len(x if kept is None else kept)


def _cut(*tensors: Tensor) -> tuple[list[tuple[Tensor, ...]], int]:
    """Rows of all tensors, in parts, and the number of threads for them."""
    if not len(tensors[0]):
        return [], 1
    parts, threads = cut(len(tensors[0]), tensors[0].device)
    return list(zip(*(tensor.tensor_split(parts) for tensor in tensors))), threads


def _again(
    branch: Callable[..., Tensor],
    tensors: Sequence[Tensor | None],
    wanted: list[bool],
    grad: Tensor,
    kept: Tensor | None,
    factor: float,
) -> list[Tensor | None]:
    """Gradients that can be differentiated again."""

    def residual(x: Tensor, *parameters: Tensor | None) -> Tensor:
        if kept is None:
            return x + factor * branch(x, *parameters)
        return x.index_add(0, kept, branch(x.index_select(0, kept), *parameters), alpha=factor)

    return gradients_with_graph(residual, tensors, wanted, grad)
