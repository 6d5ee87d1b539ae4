"""Linear layers on CPUs by the library that computes them fastest.

========================  ===================================================  =====================================
processor                 what is done                                         measured (Swin-T, 1 x 3 x 800 x 1344)
========================  ===================================================  =====================================
AVX-512                   float32 by oneDNN with a packed weight, GELU in the  float32: 385 to 495 GFLOP/s where
                          same pass; bfloat16 too where it has instructions    torch's own linear (MKL) has 165 to 220
                          for it and a weight serves more than once            (two Zen 5 cores), 130 to 215 where it
                                                                               has 95 to 190 (two Zen 4 cores);
                                                                               bfloat16: 240 to 430, not 160 to 405
no bf16/fp16 instruction  products of these types in float32, rounded to the   8 times faster than torch's plain loops
                          same type                                            (two AVX2 cores)
all else                  torch's own linear                                   packing gains nothing on AVX2
========================  ===================================================  =====================================

In training, where a weight is packed for one step, bfloat16 gains nothing and float32 4 %. oneDNN sums all products of a number one after the other: at 3072 of them its rounding error is 5.2e-7 (relative, root
mean square), where MKL has 2.5e-7.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch.utils.weak import WeakTensorKeyDictionary

from mmswin.ops.autocast import autocast_to, product_dtype
from mmswin.ops.caches import ForkSafeLock, register_cache

# With fewer rows, reordering the numbers costs more than it gains.
MIN_ROWS = 64


def _unsupported_dtypes() -> frozenset[torch.dtype]:
    """Types that oneDNN, as torch has it, does not multiply on this processor."""
    asked = ((torch.bfloat16, '_is_mkldnn_bf16_supported'), (torch.float16, '_is_mkldnn_fp16_supported'))
    # A torch that does not know, or is built without oneDNN, is taken to support them.
    known = [(dtype, getattr(torch.ops.mkldnn, name, None)) for dtype, name in asked]
    return frozenset(dtype for dtype, supported in known if supported is not None and not supported())


def _packed_dtypes() -> frozenset[torch.dtype]:
    """Types that this processor multiplies faster with a packed weight, by (private) operators of this torch."""
    capability = getattr(torch.backends.cpu, 'get_cpu_capability', lambda: '')()
    operators = all(hasattr(torch.ops.mkldnn, name) for name in ('_reorder_linear_weight', '_linear_pointwise'))
    pays = 'AVX512' in capability and operators and torch.backends.mkldnn.is_available()
    return _PACKABLE - _unsupported_dtypes() if pays else frozenset()


_PACKABLE = frozenset((torch.float32, torch.bfloat16))
UNSUPPORTED_DTYPES = _unsupported_dtypes()
PACKED_DTYPES = _packed_dtypes()

# weight -> (its version, address and type, its packed copy)
_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
_lock = ForkSafeLock()
register_cache(_packed.clear)


def needs_float32(x: Tensor) -> bool:
    """Whether products with ``x`` are taken in float32, because the processor has no instruction for their type."""
    return bool(UNSUPPORTED_DTYPES) and x.device.type == 'cpu' and product_dtype(x) in UNSUPPORTED_DTYPES


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: str | None = None, changing: bool = False) -> Tensor:
    """``F.linear(x, weight, bias)`` without a graph, then perhaps a GELU; on any device.

    Args:
        x: ``... x in``.
        weight: ``out x in``.
        bias: ``out`` numbers, or None.
        gelu: ``approximate`` of a GELU to follow ('none' or 'tanh'); None for none.
        changing: The weight is in training, and another one in the next step.

    Returns:
        ``... x out`` in the type that autocast or ``x`` gives.
    """
    dtype = product_dtype(x)
    if needs_float32(x):
        with autocast_to('cpu', None):
            y = linear(x.float(), weight.float(), None if bias is None else bias.float(), gelu).to(dtype)
        return y
    if dtype in PACKED_DTYPES and not (changing and dtype != torch.float32) and _is_packable(x, weight, bias):
        rows = x.reshape(-1, x.shape[-1]).to(dtype).contiguous()
        bias = None if bias is None else bias.to(dtype)
        activation = 'none' if gelu is None else 'gelu'
        y = torch.ops.mkldnn._linear_pointwise(rows, _pack(weight, dtype), bias, activation, [], gelu)
    else:
        with autocast_to(x.device.type, None):  # autocast would keep the converted weights, without a graph
            y = F.linear(x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype))
        if gelu is not None:
            y = torch.ops.aten.gelu_(y, approximate=gelu)
    return unsafe_view(y, (*x.shape[:-1], len(weight)))


def unsafe_view(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x.view(shape)`` that a ``torch.autograd.Function`` may return: nobody could change a view in place."""
    return torch.ops.aten._unsafe_view(x, shape)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of two matrices without a graph, of their own type."""
    with autocast_to(left.device.type, None):
        if needs_float32(left):
            return (left.float() @ right.float()).to(left.dtype)
        return left @ right


def _is_packable(x: Tensor, *others: Tensor | None) -> bool:
    tensors = [x, *(t for t in others if t is not None)]
    return (
        torch.backends.mkldnn.enabled
        and x.numel() >= MIN_ROWS * x.shape[-1] > 0
        and all(type(t) in (Tensor, Parameter) and t.dtype in _PACKABLE and t.is_cpu for t in tensors)
    )


def _pack(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight in a type, as oneDNN reads it fastest; that of a parameter is kept until the parameter changes."""
    if type(weight) is not Parameter or weight.is_inference():
        return _reorder(weight, dtype)
    state = weight._version, weight.data_ptr(), dtype
    with _lock:
        known = _packed.get(weight)
        if known is None or known[0] != state:
            with torch.inference_mode(False):
                known = _packed[weight] = state, _reorder(weight, dtype)
    return known[1]


def _reorder(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous())
