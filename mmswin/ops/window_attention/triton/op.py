"""The Triton kernels as torch operators ``mmswin::window_attention`` and ``mmswin::window_attention_backward``.

torch.compile, torch.export, autograd and torch.utils.flop_counter see one operator; autocast is the caller's business
(:mod:`mmswin.ops.window_attention.triton.backend`). Only importable where triton and a torch with custom operators are.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.library import custom_op
from torch.utils.flop_counter import register_flop_formula

from mmswin.ops.recompute import gradients_with_graph
from mmswin.ops.window_attention import reference
from mmswin.ops.window_attention.triton import kernels, tiled
from mmswin.ops.windows import window_plan

# Kernels that are interpreted on the CPU (TRITON_INTERPRET=1 when triton was imported) instead of compiled.
INTERPRETED = not isinstance(kernels.forward, triton.runtime.JITFunction)

# Programs that an interpreted kernel is cut into per "multiprocessor": more than one, so that partial sums are summed.
INTERPRETER_PROCESSORS = 2


class Launch(NamedTuple):
    """How a kernel is launched: side of a tile, warps of a program, pipeline stages, programs per multiprocessor."""

    tile: int
    warps: int
    stages: int
    programs: int


# By kernel and by the side of the tile that the window needs; 64 is windows 7 and 8 (and, in tiles, 12 and 16). Chosen
# by the registers and shared memory that the compiler reports for sm_80 and sm_90; never timed. The second table is for
# float32 and float64, whose products are no tensor core's.
LAUNCHES = {
    'forward': {16: Launch(16, 1, 3, 16), 32: Launch(32, 2, 3, 8), 64: Launch(64, 4, 3, 3)},
    'backward': {16: Launch(16, 1, 2, 16), 32: Launch(32, 2, 2, 8), 64: Launch(64, 4, 2, 2)},
    'tiled_forward': {64: Launch(64, 4, 2, 3)},
    'backward_queries': {64: Launch(64, 4, 2, 2)},
    'backward_keys': {64: Launch(64, 4, 2, 2)},
    'backward_bias': {64: Launch(64, 4, 2, 2)},
}
FULL_PRECISION_LAUNCHES = {
    'forward': {16: Launch(16, 1, 2, 16), 32: Launch(32, 4, 2, 4), 64: Launch(64, 8, 2, 2)},
    'backward': {16: Launch(16, 1, 1, 16), 32: Launch(32, 4, 1, 4), 64: Launch(64, 8, 1, 1)},
    'tiled_forward': {64: Launch(64, 8, 1, 2)},
    'backward_queries': {64: Launch(64, 8, 1, 1)},
    'backward_keys': {64: Launch(64, 8, 1, 1)},
    'backward_bias': {64: Launch(64, 8, 1, 1)},
}
KERNELS = {
    'forward': kernels.forward,
    'backward': kernels.backward,
    'tiled_forward': tiled.forward,
    'backward_queries': tiled.backward_queries,
    'backward_keys': tiled.backward_keys,
    'backward_bias': tiled.backward_bias,
}
LARGEST_TILE = 64


@lru_cache(maxsize=64)
def _processors(device: torch.device) -> int:
    if device.type != 'cuda':
        return INTERPRETER_PROCESSORS
    return torch.cuda.get_device_properties(device).multi_processor_count


def tile_of(area: int) -> int:
    """Side of the tile for a window: its area rounded up to a power of two, from the smallest product's 16 to 64."""
    return min(max(16, triton.next_power_of_2(area)), LARGEST_TILE)


def launch_of(kernel: str, dtype: torch.dtype, area: int) -> Launch:
    """How a kernel is launched for maps of this type and windows of this area."""
    table = LAUNCHES if dtype in (torch.float16, torch.bfloat16) else FULL_PRECISION_LAUNCHES
    return table[kernel][tile_of(area)]


def _operand(dtype: torch.dtype) -> tl.dtype:
    """The type that products are taken in: the map's, but the interpreter cannot multiply bfloat16."""
    if dtype == torch.bfloat16 and INTERPRETED:
        return tl.float32
    return getattr(tl, str(dtype).removeprefix('torch.'))


class Call:
    """What the kernels of one call of the operator share: the map, its windows, and how programs are numbered."""

    def __init__(
        self,
        qkv: Tensor,
        pad_value: Tensor | None,
        bias: Tensor | None,
        window: Sequence[int],
        shift: Sequence[int],
        num_heads: int,
        scale: float,
    ) -> None:
        if qkv.device.type != 'cuda' and not INTERPRETED:
            raise RuntimeError(
                f"attention backend 'triton' runs on CUDA devices and the map is on {qkv.device}: move the model there "
                "or choose attn_backend='auto' (to debug on the CPU, set TRITON_INTERPRET=1 before triton is imported)"
            )
        self.qkv = qkv.contiguous()
        self.plan = window_plan(qkv.shape[1], qkv.shape[2], (window[0], window[1]), (shift[0], shift[1]))
        self.heads = num_heads
        self.windows = qkv.shape[0] * self.plan.rows * self.plan.columns
        self.tiles = -(-self.plan.tokens // tile_of(self.plan.tokens))
        self.padded = (self.plan.rows * window[0], self.plan.columns * window[1]) != tuple(qkv.shape[1:3])
        # A kernel takes some pointer where it will not read.
        self.pad_value = self.qkv if pad_value is None else pad_value.to(qkv.dtype).contiguous()
        self.bias = self.qkv if bias is None else bias.contiguous()
        self.constants = dict(
            HEADS=num_heads,
            ROWS=window[0],
            COLUMNS=window[1],
            SHIFT_ROWS=shift[0],
            SHIFT_COLUMNS=shift[1],
            SCALE=scale,
            PADDED=self.padded,
            PAD_VALUE=pad_value is not None,
            BIAS=bias is not None,
            OPERAND=_operand(qkv.dtype),
            ACC=tl.float64 if qkv.dtype == torch.float64 else tl.float32,
        )

    def sums(self, *shape: int) -> Tensor:
        """Memory for partial sums and statistics."""
        return self.qkv.new_empty(shape, dtype=torch.promote_types(self.qkv.dtype, torch.float32))

    def strips(self, kernel: str, tiles: int) -> int:
        """Into how many strips the windows are dealt, so that each of ``tiles`` per head and strip has its program."""
        programs = _processors(self.qkv.device) * launch_of(kernel, self.qkv.dtype, self.plan.tokens).programs
        return max(1, min(self.windows, programs // (self.heads * tiles)))

    def run(self, kernel: str, tiles: int, *tensors: Tensor, **flags: bool) -> None:
        """Launch a kernel with what it takes behind qkv, pad_value and bias."""
        plan, strips = self.plan, self.strips(kernel, tiles)
        launch = launch_of(kernel, self.qkv.dtype, plan.tokens)
        # Triton launches on the current device.
        with torch.cuda.device(self.qkv.device) if self.qkv.device.type == 'cuda' else nullcontext():
            KERNELS[kernel][(self.heads * tiles * strips,)](
                *(self.qkv, self.pad_value, self.bias, *tensors),
                *(plan.height, plan.width, plan.rows, plan.columns, self.windows, strips),
                TILE=launch.tile,
                **flags,
                **self.constants,
                num_warps=launch.warps,
                num_stages=launch.stages,
            )


@custom_op('mmswin::window_attention', mutates_args=())
def window_attention(
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    window: Sequence[int],
    shift: Sequence[int],
    num_heads: int,
    scale: float,
) -> Tensor:
    """``B x H x W x 3C`` to ``B x H x W x C``; see :func:`mmswin.ops.window_attention.window_attention`."""
    call = Call(qkv, pad_value, bias, window, shift, num_heads, scale)
    out = qkv.new_empty(*qkv.shape[:3], qkv.shape[3] // 3)
    call.run('forward' if call.tiles == 1 else 'tiled_forward', call.tiles, out)
    return out


@window_attention.register_fake
def _(qkv, pad_value, bias, window, shift, num_heads, scale):
    return qkv.new_empty(*qkv.shape[:3], qkv.shape[3] // 3)


@custom_op('mmswin::window_attention_backward', mutates_args=())
def window_attention_backward(
    grad: Tensor,
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    window: Sequence[int],
    shift: Sequence[int],
    num_heads: int,
    scale: float,
    pad_grad: bool,
    bias_grad: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, pad_value and bias; of the latter two empty ones unless asked for."""
    call = Call(qkv, pad_value, bias, window, shift, num_heads, scale)
    grad = grad.contiguous()
    area, width, tiles = call.plan.tokens, qkv.shape[3] // 3, call.tiles
    sum_pad = pad_grad and call.padded
    grad_qkv = torch.empty_like(call.qkv)
    none = qkv.new_empty(0)

    def bias_sums(kernel: str, programs: int) -> Tensor:
        return call.sums(call.strips(kernel, programs), num_heads, area, area) if bias_grad else none

    def pad_sums(kernel: str) -> Tensor:
        return call.sums(call.strips(kernel, tiles) * tiles, 2 * width) if sum_pad else none

    if tiles == 1:
        sums_bias, sums_pad = bias_sums('backward', 1), pad_sums('backward')
        call.run('backward', 1, grad, grad_qkv, sums_bias, sums_pad, BIAS_GRAD=bias_grad, PAD_GRAD=sum_pad)
    else:
        sums_bias, sums_pad = bias_sums('backward_bias', tiles**2), pad_sums('backward_keys')
        statistics = call.sums(2, call.windows, num_heads, area)
        call.run('backward_queries', tiles, grad, grad_qkv, statistics)
        call.run('backward_keys', tiles, grad, grad_qkv, sums_pad, statistics, PAD_GRAD=sum_pad)
        if bias_grad:
            call.run('backward_bias', tiles**2, grad, sums_bias, statistics)
    grad_pad, grad_bias = qkv.new_empty(0), qkv.new_empty(0)  # outputs of an operator must not share memory
    if pad_grad:
        grad_pad = torch.zeros_like(pad_value)
        if sum_pad:  # the query of a padded token has no gradient: its output is cut off
            grad_pad[width:] = sums_pad.sum(0)
    if bias_grad:
        grad_bias = sums_bias.sum(0).to(bias.dtype)
    return grad_qkv, grad_pad, grad_bias


@window_attention_backward.register_fake
def _(grad, qkv, pad_value, bias, window, shift, num_heads, scale, pad_grad, bias_grad):
    return (
        torch.empty_like(qkv, memory_format=torch.contiguous_format),
        torch.empty_like(pad_value) if pad_grad else qkv.new_empty(0),
        bias.new_empty(bias.shape) if bias_grad else qkv.new_empty(0),
    )


def _setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    qkv, pad_value, bias, *ctx.options = inputs
    ctx.save_for_backward(qkv, pad_value, bias)


def _backward(ctx: Any, grad: Tensor) -> tuple:
    tensors = ctx.saved_tensors  # once: checkpointing gives them once
    qkv, pad_value, bias = tensors
    wanted = [needed and tensor is not None for needed, tensor in zip(ctx.needs_input_grad[:3], tensors)]
    if torch.is_grad_enabled():  # a graph of the gradient is wanted: the reference has one
        window, shift, num_heads, scale = ctx.options
        plan = window_plan(qkv.shape[1], qkv.shape[2], tuple(window), tuple(shift))

        def modules(qkv: Tensor, pad_value: Tensor | None, bias: Tensor | None) -> Tensor:
            return reference.attend(qkv, pad_value, bias, plan, num_heads, scale, 0.0)

        return *gradients_with_graph(modules, tensors, wanted, grad), None, None, None, None
    grads = torch.ops.mmswin.window_attention_backward(grad, qkv, pad_value, bias, *ctx.options, wanted[1], wanted[2])
    return *(found if want else None for found, want in zip(grads, wanted)), None, None, None, None


window_attention.register_autograd(_backward, setup_context=_setup_context)


def _products(qkv_shape: Sequence[int], window: Sequence[int]) -> int:
    """Multiply-adds of one of the two products of the forward pass, padded tokens included."""
    batch, height, width, channels = qkv_shape
    tokens = batch * (-(-height // window[0]) * window[0]) * (-(-width // window[1]) * window[1])
    return tokens * window[0] * window[1] * (channels // 3)


@register_flop_formula(torch.ops.mmswin.window_attention)
def _flops(qkv_shape, pad_shape, bias_shape, window, *args, **kwargs) -> int:
    """q k^T and weights v, two operations a multiply-add, as torch counts its own attention."""
    return 2 * 2 * _products(qkv_shape, window)


@register_flop_formula(torch.ops.mmswin.window_attention_backward)
def _backward_flops(grad_shape, qkv_shape, pad_shape, bias_shape, window, *args, **kwargs) -> int:
    """The scores again, and the gradients of weights, v, q and k."""
    return 2 * 5 * _products(qkv_shape, window)
