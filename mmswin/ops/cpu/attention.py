"""The cpu backend: a strip of windows at a time, so that scores stay in the cache and nothing but q, k, v is kept.

Backward computes the scores of a strip again. Memory between the two passes is that of the projected map alone,
where ``reference`` keeps the windows, the scaled queries and the attention weights besides.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmswin.ops.cpu.chunks import Strip, strips
from mmswin.ops.cpu.linear import linear
from mmswin.ops.cpu.parallel import compute
from mmswin.ops.cpu.sums import Sums, summed
from mmswin.ops.low_precision import autocast_of, product, widened
from mmswin.ops.recompute import gradients_with_graph, of_shape
from mmswin.ops.window_attention import reference
from mmswin.ops.windows import WindowPlan


def attend(
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
    dropout: float,
) -> Tensor:
    """See :func:`mmswin.ops.window_attention.window_attention`.

    ``reference`` computes with dropout, nothing, and tensors that only stand for others (fake ones, shapes alone).
    """
    if dropout or qkv.numel() == 0 or type(qkv) is not Tensor or qkv.is_meta:
        return reference.attend(qkv, pad_value, bias, plan, num_heads, scale, dropout)
    return _Attention.apply(qkv, pad_value, in_order(bias), None, None, plan, num_heads, scale)


def attend_and_project(
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    weight: Tensor,
    proj_bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
) -> Tensor:
    """Attention and the linear layer after it, ``B x H x W x 3C`` to ``B x H x W x out``.

    What lies between them, one map, is not kept for backward either.

    Args:
        qkv, pad_value, bias, plan, num_heads, scale: See :func:`mmswin.ops.window_attention.window_attention`.
        weight: The linear layer's, ``out x C``.
        proj_bias: The linear layer's.
    """
    return _Attention.apply(qkv, pad_value, in_order(bias), weight, proj_bias, plan, num_heads, scale)


def in_order(bias: Tensor | None) -> Tensor | None:
    """The bias as it is read fastest, once for every window; it comes as a permuted view of the table's rows."""
    return None if bias is None else bias.contiguous()


def split(places: Tensor, windows: int, num_heads: int) -> Tensor:
    """``(windows * tokens) x 3C`` to q, k, v: ``3 x (windows * heads) x tokens x head width``."""
    count, width = places.shape
    places = places.view(windows, count // windows, 3, num_heads, width // 3 // num_heads)
    return places.permute(2, 0, 3, 1, 4).reshape(3, windows * num_heads, count // windows, -1)


def join(out: Tensor, windows: int) -> Tensor:
    """``(windows * heads) x tokens x head width`` to ``(windows * tokens) x C``."""
    heads, tokens, width = len(out) // windows, *out.shape[1:]
    return out.view(windows, heads, tokens, width).transpose(1, 2).reshape(windows * tokens, heads * width)


def _scaled_product(left: Tensor, right: Tensor, scale: float) -> Tensor:
    """``scale * left @ right``, batches of matrices; the factor costs no pass of its own."""
    out = left.new_empty(len(left), left.shape[1], right.shape[2])
    return torch.baddbmm(out, left, right, beta=0, alpha=scale, out=out)  # a beta of 0 ignores what it is added to


def weights_of(q: Tensor, k: Tensor, bias: Tensor | None, strip: Strip, num_heads: int, scale: float) -> Tensor:
    """softmax(scale * q k^T + bias + mask), ``(windows * heads) x tokens x tokens``, in at least float32."""
    scores = _scaled_product(q, k.transpose(1, 2), scale)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    scores = scores.view(strip.windows, num_heads, *scores.shape[1:])
    if bias is not None:
        scores += bias
    strip.mask_(scores)
    return torch.softmax(scores, -1).flatten(0, 1)


def mix(places: Tensor, bias: Tensor | None, strip: Strip, num_heads: int, scale: float) -> Tensor:
    """Attention in the windows of a strip: ``(windows * tokens) x 3C`` to ``(windows * tokens) x C``."""
    q, k, v = split(*widened(places), strip.windows, num_heads)
    # The products' type is the input's, as in every backend: autocast has had its say at the projection.
    with autocast_of(places.device.type, None):
        mixed = torch.bmm(weights_of(q, k, bias, strip, num_heads, scale).to(v.dtype), v)
    return join(mixed.to(places.dtype), strip.windows)


def _taken(strip: Strip, tokens: Tensor, pad_value: Tensor | None) -> Tensor:
    return strip.in_places(strip.take(tokens), pad_value)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        qkv: Tensor,
        pad_value: Tensor | None,
        bias: Tensor | None,
        weight: Tensor | None,
        proj_bias: Tensor | None,
        plan: WindowPlan,
        num_heads: int,
        scale: float,
    ) -> Tensor:
        tokens = qkv.reshape(-1, qkv.shape[3])
        pad_value, weight, proj_bias = _of_type(qkv.dtype, pad_value, weight, proj_bias)
        out = qkv.new_empty(len(tokens), qkv.shape[3] // 3 if weight is None else len(weight))
        parts = strips(plan, len(qkv), qkv.device)

        def one(strip: Strip) -> None:
            mixed = strip.of_tokens(mix(_taken(strip, tokens, pad_value), bias, strip, num_heads, scale))
            strip.put(mixed if weight is None else linear(mixed, weight, proj_bias), out)

        with autocast_of(qkv.device.type, None):
            compute(one, parts, parts.threads)
        return of_shape(out, (*qkv.shape[:3], out.shape[1]))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:5])
        ctx.options = inputs[5:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        tensors = ctx.saved_tensors
        wanted = [need and tensor is not None for need, tensor in zip(ctx.needs_input_grad, tensors)]
        found = (_with_graph if torch.is_grad_enabled() else _backward)(tensors, grad, wanted, *ctx.options)
        return *found, None, None, None


def _of_type(dtype: torch.dtype, *tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


def _with_graph(tensors: tuple, grad: Tensor, wanted: list[bool], *options: Any) -> list[Tensor | None]:
    """Gradients that can be differentiated again: those of the reference."""

    def modules(
        qkv: Tensor, pad_value: Tensor | None, bias: Tensor | None, weight: Tensor | None, proj_bias: Tensor | None
    ) -> Tensor:
        out = reference.attend(qkv, pad_value, bias, *options, 0.0)
        return out if weight is None else F.linear(out, *_of_type(out.dtype, weight, proj_bias))

    return gradients_with_graph(modules, tensors, wanted, grad)


def _backward(
    tensors: tuple, grad: Tensor, wanted: list[bool], plan: WindowPlan, num_heads: int, scale: float
) -> list[Tensor | None]:
    qkv, pad_value, bias, weight, proj_bias = tensors
    tokens, grads = qkv.reshape(-1, qkv.shape[3]), grad.reshape(-1, grad.shape[3])
    grad_qkv = torch.empty_like(tokens)
    types = [None if t is None else torch.promote_types(t.dtype, torch.float32) for t in tensors]  # of sums
    sought = [False, wanted[1] and bool(plan.pad_bottom or plan.pad_right), *wanted[2:4], False]
    (pad_value,) = _of_type(qkv.dtype, pad_value)
    transposed = None if weight is None else weight.to(qkv.dtype).t().contiguous()
    parts = strips(plan, len(qkv), qkv.device)

    def some(numbers: range) -> Sums:
        sums = Sums(sought)
        for strip in (parts[number] for number in numbers):
            of_out = strip.take(grads)
            of_mixed = of_out if weight is None else linear(of_out, transposed)
            places, of_scores, mixed = gradients(
                *(_taken(strip, tokens, pad_value), strip.in_places(of_mixed)),
                *(bias, strip, num_heads, scale, sought[3]),
            )
            if strip.padded is not None:
                sums.add(1, lambda p=places, strip=strip: p[strip.padded].sum(0, dtype=types[1]))
            sums.add(2, lambda s=of_scores, n=strip.windows: s.view(n, num_heads, *s.shape[1:]).sum(0, dtype=types[2]))
            if mixed is not None:
                mixed = strip.of_tokens(mixed)
                sums.add(3, lambda g=of_out, mixed=mixed: product(g.t(), mixed).to(types[3]))
            strip.put(strip.of_tokens(places), grad_qkv)
        return sums

    with autocast_of(qkv.device.type, None):
        sums = summed(some, len(parts), parts.threads)
    if wanted[4]:
        sums[4] = grads.sum(0, dtype=types[4])
    others = [None if value is None else value.to(t.dtype) for value, t in zip(sums[1:], tensors[1:])]
    return [grad_qkv.view(qkv.shape), *others]


def gradients(
    places: Tensor, grad: Tensor, bias: Tensor | None, strip: Strip, num_heads: int, scale: float, again: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients in a strip: of q, k, v, ``(windows * tokens) x 3C``, and of the scores that the softmax is given.

    Third comes the attention's output, ``(windows * tokens) x C``, if it is wanted ``again``, else None.
    """
    windows = strip.windows
    # Written to ``found`` in the type of ``places``.
    given, grad = widened(places, grad)
    q, k, v = split(given, windows, num_heads)
    weights = weights_of(q, k, bias, strip, num_heads, scale)
    tokens, width = weights.shape[1], q.shape[2]
    grad = grad.view(windows, tokens, num_heads, width).transpose(1, 2).reshape(-1, tokens, width)
    found = places.new_empty(windows, tokens, 3, num_heads, width)

    def write(part: int, value: Tensor) -> None:
        found[:, :, part] = value.view(windows, num_heads, tokens, width).transpose(1, 2)

    write(2, torch.bmm(weights.transpose(1, 2).to(grad.dtype), grad))
    of_scores = torch.bmm(grad, v.transpose(1, 2)).to(weights.dtype)
    of_scores = torch.ops.aten._softmax_backward_data(of_scores, weights, -1, weights.dtype)
    narrow = of_scores.to(q.dtype)
    write(0, _scaled_product(narrow, k, scale))
    write(1, _scaled_product(narrow.transpose(1, 2), q, scale))
    mixed = join(torch.bmm(weights.to(v.dtype), v), windows) if again else None
    return found.view(windows * tokens, -1), of_scores, mixed
