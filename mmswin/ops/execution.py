"""Ways to compute a Swin block that are more than its modules called one after the other.

========================  ============================================================  ==============================
way                       what is gained                                                when
========================  ============================================================  ==============================
:func:`keeping_less`      half of the memory between forward and backward               with gradients, not compiled
:func:`in_place`          no fresh memory, all in the cache                             CPU, no gradients, not compiled
:func:`as_one_operator`   the same, inside a compiled program                           CPU, no gradients, torch.compile
========================  ============================================================  ==============================

All have the values and gradients of the modules, and all need a block whose parts are as they were built and watched by
nobody (:func:`is_whole`); any other is computed module by module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmswin.backbones.base import drop_path, is_plain, kept_by_drop_path
from mmswin.ops import recompute
from mmswin.ops.cpu import block as cpu_block
from mmswin.ops.cpu import block_op as cpu_op
from mmswin.ops.cpu import training as cpu_training
from mmswin.ops.cpu.attention import attend_and_project
from mmswin.ops.low_precision import autocast_type
from mmswin.ops.window_attention import IN_STRIPS, WHOLE_BLOCK, is_cpu_tensor
from mmswin.ops.windows import capturing, window_plan

if TYPE_CHECKING:
    from mmswin.backbones.swin import PatchMerging, SwinBlock


def is_whole(block: SwinBlock) -> bool:
    """Whether the parts are as they were built and nobody watches them, so that they need not be called."""
    attn, mlp = block.attn, block.mlp
    return (
        is_plain(nn.LayerNorm, block.norm1, block.norm2)
        and is_plain(nn.Linear, attn.qkv, attn.proj, mlp.fc1, mlp.fc2)
        and is_plain(nn.Dropout, attn.proj_drop, mlp.drop)
        and is_plain(nn.GELU, mlp.act)
        and is_plain(block.kinds[0], attn)
        and is_plain(block.kinds[1], mlp)
        and not any(drop.training and drop.p for drop in (attn.proj_drop, mlp.drop))
    )


def keeps_less(block: SwinBlock) -> bool:
    """Whether :func:`keeping_less` is the way."""
    return block.attn.backend in WHOLE_BLOCK and torch.is_grad_enabled() and not capturing() and is_whole(block)


def merging_keeps_less(merging: PatchMerging) -> bool:
    """Whether patch merging leaves the neighbours and what the norm gave to be made again in backward."""
    return (
        merging.backend in WHOLE_BLOCK
        and torch.is_grad_enabled()
        and not capturing()
        and hasattr(merging, 'norm')
        and is_plain(nn.LayerNorm, merging.norm)
        and is_plain(nn.Linear, merging.reduction)
    )


def keeping_less(block: SwinBlock, x: Tensor) -> Tensor:
    """Autograd keeps neither what the norms and the GELU gave nor, on a CPU, what attention gave.

    ``B x H x W x C`` to the same, as are all here.
    """
    attn, mlp = block.attn, block.mlp
    random = attn.training and attn.attn_drop
    in_strips = attn.backend in IN_STRIPS and is_cpu_tensor(x) and x.numel() and not random
    if in_strips:
        parameters = block.norm1.weight, block.norm2.weight, attn.qkv.weight, attn.proj.weight, mlp.fc1.weight
        if cpu_training.computes(x, *parameters, mlp.fc2.weight, attn.relative_position_bias_table):
            return _in_strips(block, x)
    qkv = _norm_linear(x, block.norm1, attn.qkv)
    if in_strips:
        plan = window_plan(x.shape[1], x.shape[2], attn.window, attn.shift)
        bias, proj = attn.relative_position_bias(), attn.proj
        branch = attend_and_project(qkv, attn.qkv.bias, bias, proj.weight, proj.bias, plan, attn.num_heads, attn.scale)
    else:
        branch = attn.mix(qkv)
    x = x + drop_path(branch, block.drop_path, block.training)
    hidden = _norm_linear(x, block.norm2, mlp.fc1)
    branch = recompute.gelu_linear(hidden, mlp.fc2.weight, mlp.fc2.bias, mlp.act.approximate)
    return x + drop_path(branch, block.drop_path, block.training)


def _in_strips(block: SwinBlock, x: Tensor) -> Tensor:
    attn, mlp = block.attn, block.mlp
    norms = [(norm.weight, norm.bias, norm.eps) for norm in (block.norm1, block.norm2)]
    qkv, proj, fc1, fc2 = ((m.weight, m.bias) for m in (attn.qkv, attn.proj, mlp.fc1, mlp.fc2))
    plan = window_plan(x.shape[1], x.shape[2], attn.window, attn.shift)
    kept = kept_by_drop_path(x, block.drop_path, block.training)
    x = cpu_training.attention_residual(
        x, norms[0], qkv, proj, attn.relative_position_bias(), plan, attn.num_heads, attn.scale, *kept
    )
    kept = kept_by_drop_path(x, block.drop_path, block.training)
    return cpu_training.mlp_residual(x, norms[1], fc1, mlp.act.approximate, fc2, *kept)


def _norm_linear(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    return recompute.norm_linear(x, (norm.weight, norm.bias, norm.eps), linear.weight, linear.bias)


def _without_gradients(block: SwinBlock) -> bool:
    attn = block.attn
    random = block.training and block.drop_path or attn.training and attn.attn_drop
    return attn.backend in IN_STRIPS and not torch.is_grad_enabled() and not random and is_whole(block)


def is_in_place(block: SwinBlock, x: Tensor) -> bool:
    """Whether :func:`in_place` is the way; then nobody watches the block either."""
    return is_cpu_tensor(x) and not capturing() and is_plain(block.kinds[2], block) and _without_gradients(block)


def in_place(block: SwinBlock, x: Tensor, out: Tensor) -> Tensor:
    """Compute into ``out``, contiguous and of the shape of ``x``; it may be ``x`` itself."""
    attn, mlp = block.attn, block.mlp
    norms = [cpu_block.Norm(norm.weight, norm.bias, norm.eps) for norm in (block.norm1, block.norm2)]
    qkv, proj, fc1, fc2 = (cpu_block.Linear(m.weight, m.bias) for m in (attn.qkv, attn.proj, mlp.fc1, mlp.fc2))
    plan = window_plan(x.shape[1], x.shape[2], attn.window, attn.shift)
    bias = attn.relative_position_bias()
    cpu_block.attention_(x, out, norms[0], qkv, proj, bias, plan, attn.num_heads, attn.scale)
    cpu_block.mlp_(out, norms[1], fc1, mlp.act.approximate, fc2)
    return out


def is_one_operator(block: SwinBlock, x: Tensor) -> bool:
    """Whether :func:`as_one_operator` is the way: where :func:`in_place` were, uncompiled."""
    return (
        cpu_op.recorded_here()
        and x.device.type == 'cpu'
        and _without_gradients(block)
        and all(m.bias is not None for m in (block.norm1, block.norm2, block.attn.proj, block.mlp.fc1, block.mlp.fc2))
    )


def as_one_operator(block: SwinBlock, x: Tensor) -> Tensor:
    """The block as one operator of a recorded program."""
    attn, mlp, norms = block.attn, block.mlp, (block.norm1, block.norm2)
    return cpu_op.block(
        x,
        [parameter for norm in norms for parameter in (norm.weight, norm.bias)],
        [attn.qkv.weight, attn.proj.weight, mlp.fc1.weight, mlp.fc2.weight],
        attn.qkv.bias,
        [attn.proj.bias, mlp.fc1.bias, mlp.fc2.bias],
        attn.relative_position_bias(),
        attn.window,
        attn.shift,
        attn.num_heads,
        attn.scale,
        [norm.eps for norm in norms],
        mlp.act.approximate,
        autocast_type('cpu'),
    )
