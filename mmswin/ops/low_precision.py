"""Matrix products in bfloat16 and float16 on processors without an instruction for them.

torch computes those in plain loops, which takes about eight times as long as the same product of float32 matrices. Here
they are products in float32 instead, of the same matrices, rounded to the same type: nearer to the truth, if anything.
What is kept and what is returned has the type that it would have had.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def _in_plain_loops() -> frozenset[torch.dtype]:
    """Types that oneDNN, as torch has it, does not multiply on this processor."""
    asked = ((torch.bfloat16, '_is_mkldnn_bf16_supported'), (torch.float16, '_is_mkldnn_fp16_supported'))
    # A torch that does not know, or is built without oneDNN, is left to its ways.
    known = [(dtype, getattr(torch.ops.mkldnn, name, None)) for dtype, name in asked]
    return frozenset(dtype for dtype, supported in known if supported is not None and not supported())


SLOW = _in_plain_loops()


def autocast_type(device: str) -> torch.dtype | None:
    """The type that autocast gives to matrix products on a kind of device at the moment; None without autocast."""
    if device == 'meta':  # torch raises an error there
        return None
    if hasattr(torch, 'get_autocast_dtype'):  # since torch 2.4
        return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
    if device == 'cuda':
        return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None
    return torch.get_autocast_cpu_dtype() if device == 'cpu' and torch.is_autocast_cpu_enabled() else None


def autocast_of(device: str, dtype: torch.dtype | None) -> AbstractContextManager:
    """The autocast to a type on a kind of device, whatever it is at the moment; none if the type is None."""
    if autocast_type(device) == dtype:  # not every device has one
        return nullcontext()
    return torch.autocast(device, dtype, enabled=dtype is not None)


def slow_type(x: Tensor) -> torch.dtype | None:
    """The type of a product with ``x``, by autocast or by itself, if products of that type are slow; else None."""
    if x.device.type != 'cpu' or x.dtype == torch.float64:  # which autocast leaves as it is
        return None
    dtype = autocast_type('cpu') or x.dtype
    return dtype if dtype in SLOW else None


def widened(*tensors: Tensor | None) -> list[Tensor | None]:
    """Tensors on a CPU of types whose products are slow, in float32; all others as they are."""
    return [t.float() if t is not None and t.dtype in SLOW and t.device.type == 'cpu' else t for t in tensors]


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of two matrices, in float32 where their own type is slow."""
    if slow_type(left) is None:
        return left @ right
    with torch.autocast('cpu', enabled=False):
        return torch.mm(*widened(left, right))


def call(module: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """``module(x)``, whose product is taken in float32 where autocast's type is slow."""
    dtype = slow_type(x)
    if dtype is None or module.weight.dtype != torch.float32:
        return module(x)
    with torch.autocast('cpu', enabled=False):
        return module(x.float()).to(dtype)
