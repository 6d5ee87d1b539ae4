"""The one door to faster and leaner ways of computing what modules say.

A stage calls :func:`run` in place of a block, and whoever calls a block itself gets its modules one after the other. All
ways have the values and gradients of the modules. They compute with the parts' parameters and do not call the parts, so
that they are taken only where nobody could tell: where the parts are as they were built and nobody watches them
(:func:`is_unmodified`).

=============================  =====================================  =================================================
when                           way                                    why
=============================  =====================================  =================================================
gradients, 'selective'         :mod:`mmswin.ops.recompute`            half of the memory between forward and backward
no gradients, a CPU, 'auto'    :mod:`mmswin.ops.cpu.inference`        no whole maps between input and output; not V2,
                                                                      not in bfloat16 with AMX, where modules are
                                                                      as fast or faster (benchmarks/LOG.md)
gradients, ``with_cp=True``    torch.utils.checkpoint                 the memory of a block's input alone
all else                       the modules
=============================  =====================================  =================================================

All else: compiled, exported and traced programs, transforms of torch.func, forward-mode derivatives, tensors other than
torch's own, dropout inside a branch, hooks, replaced parts, subclasses.
"""

import logging
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmswin.ops import recompute
from mmswin.ops.cpu import inference, products
from mmswin.ops.merging import neighbours
from mmswin.ops.windows import in_transform, is_plain

SELECTIVE = 'selective'
# Classes whose forward is known here, and that forward; own ones are added by `register`.
_KNOWN = {kind: kind.forward for kind in (nn.LayerNorm, nn.Linear, nn.GELU, nn.Dropout)}
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def register(*classes: type[nn.Module]) -> None:
    """Declare classes whose forward is what :func:`run` takes it to be.

    Blocks are ``x + drop_path(attn(norm1(x)))``, then ``x + drop_path(mlp(norm2(x)))``, with attention as
    ``proj(mix(qkv(x)))`` and an MLP as ``fc2(act(fc1(x)))``; patch merging is ``reduction(norm(neighbours(x)))``. What
    has a true ``norm_after`` normalises what the branch, or the reduction, returns and not what it is given; ``ls1``
    and ``ls2`` scale what the branches return.
    """
    _KNOWN.update((kind, kind.forward) for kind in classes)


def run(module: nn.Module, x: Tensor, with_cp: bool | str = False) -> Tensor:
    """``module(x)`` of a block or of patch merging, in the way that the table above names.

    Args:
        module: Of a class known by :func:`register`, or anything else, which is called.
        x: ``B x H x W x C`` (or ``B x N x C``, for blocks that attend over the whole map).
        with_cp: False keeps what the modules keep for backward, True the input alone, ``'selective'`` what
            :mod:`mmswin.ops.recompute` says.
    """
    if torch.is_grad_enabled():
        if with_cp is True and not in_transform():
            return checkpoint(module, x, use_reentrant=False)
        if with_cp == SELECTIVE and _may_replace(module, x):
            return (_run_merging if hasattr(module, 'reduction') else _run_block)(module, x)
    elif x.device.type == 'cpu' and x.numel():
        merges = hasattr(module, 'reduction')
        if (merges or _computes_in_chunks(module, x)) and _may_replace(module, x):
            return _run_merging(module, x) if merges else inference.run_block(module, x)
    return module(x)


def is_unmodified(module: nn.Module) -> bool:
    """Whether a module and its parts are of classes known here, with their own forward and without hooks."""
    return not any(getattr(nn.modules.module, '_global' + name, None) for name in _HOOKS) and all(
        _KNOWN.get(type(part)) is type(part).forward
        and 'forward' not in vars(part)
        and not any(getattr(part, name) for name in _HOOKS)
        for part in module.modules()
    )


def _may_replace(module: nn.Module, x: Tensor) -> bool:
    """Whether nobody could tell that the parts are not called, and their parameters are tensors of torch's own."""
    if not is_plain(x):
        return False
    if not is_unmodified(module):
        _say_once()
        return False
    return not _drops_inside(module) and all(
        type(p) in (nn.Parameter, Tensor) and p.device == x.device for p in module.parameters()
    )


@lru_cache(maxsize=1)
def _say_once() -> None:
    logging.getLogger('mmswin').warning(
        'Blocks of the backbone have hooks or parts that are not their own: they are computed module by module, which '
        'is right but takes more memory in training (with_cp=True recomputes whole blocks) and more time on CPUs.'
    )


def _drops_inside(module: nn.Module) -> bool:
    """Whether random numbers are drawn between the parts."""
    attn = getattr(module, 'attn', None)
    # With gradients also where training begins before backward, which would compute attention again with dropout.
    attends = attn is not None and (attn.training or torch.is_grad_enabled())
    return (attends and attn.attn_drop > 0) or any(
        isinstance(part, nn.Dropout) and part.training and part.p > 0 for part in module.modules()
    )


def _computes_in_chunks(module: nn.Module, x: Tensor) -> bool:
    automatic = getattr(getattr(module, 'attn', None), 'backend', None) == 'auto' and not products.has_matrix_unit(x)
    return automatic and not getattr(module, 'norm_after', False) and not (module.training and module.drop_path)


def _layer_norm(eps: float, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _run_block(block: nn.Module, x: Tensor) -> Tensor:
    x = _residual(block, x, _attention)
    return _residual(block, x, _mlp)


def _attention(block: nn.Module, x: Tensor) -> Tensor:
    if not hasattr(block, 'attn'):  # Swin-MLP mixes tokens by a grouped convolution
        norm, conv = block.norm1, block.spatial_mlp

        def mix(x: Tensor, weight: Tensor | None, bias: Tensor | None, *own: Tensor) -> Tensor:
            x = _layer_norm(norm.eps, x, weight, bias)
            return block.mix_tokens(x, lambda windows: F.conv1d(windows, *own, groups=conv.groups))

        # Their parameters are arguments, for functional_call has put others back by the time of backward.
        return checkpoint(mix, x, norm.weight, norm.bias, conv.weight, conv.bias, use_reentrant=False)
    attn = block.attn
    return _branch(block, 1, x, attn.qkv, attn.proj, attn.mix, attn.mix_parameters())


def _mlp(block: nn.Module, x: Tensor) -> Tensor:
    mlp = block.mlp
    return _branch(block, 2, x, mlp.fc1, mlp.fc2, partial(F.gelu, approximate=mlp.act.approximate))


def _branch(
    block: nn.Module, number: int, x: Tensor, first: nn.Linear, last: nn.Linear, between: Callable, parameters: Any = ()
) -> Tensor:
    """Two linear layers and what is between them, with a norm before or behind, or factors of the channels behind."""
    norm, scale = getattr(block, f'norm{number}'), getattr(block, f'ls{number}', None)
    after = getattr(block, 'norm_after', False)
    before, own = (lambda x: x, ()) if after else (partial(_layer_norm, norm.eps), (norm.weight, norm.bias))
    x = recompute.linear(x, first.weight, first.bias, before, own)
    x = recompute.linear(x, last.weight, last.bias, between, parameters)
    return norm(x) if after else x if scale is None else scale(x)


def _residual(block: nn.Module, x: Tensor, branch: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
    """``x + drop_path(branch(x))``; on a CPU nothing is computed for the samples that it drops."""
    if not (block.training and block.drop_path):
        return x + branch(block, x)
    kept = x.new_empty((len(x),) + (1,) * (x.dim() - 1)).bernoulli_(1 - block.drop_path)
    factor = 1 / (1 - block.drop_path) if block.drop_path < 1 else 1.0
    if x.device.type != 'cpu':  # which of them are kept is known there
        return x + branch(block, x) * kept.mul_(factor)
    numbers = kept.flatten().nonzero().flatten()
    return x.index_add(0, numbers, branch(block, x.index_select(0, numbers)).to(x.dtype), alpha=factor)


def _run_merging(merging: nn.Module, x: Tensor) -> Tensor:
    norm, reduction = getattr(merging, 'norm', None), merging.reduction
    if norm is None:
        return merging(x)

    if getattr(merging, 'norm_after', False):
        return norm(recompute.linear(x, reduction.weight, reduction.bias, partial(neighbours, step=merging.stride)))

    def before(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        return _layer_norm(norm.eps, neighbours(x, merging.stride), weight, bias)

    return recompute.linear(x, reduction.weight, reduction.bias, before, (norm.weight, norm.bias))
