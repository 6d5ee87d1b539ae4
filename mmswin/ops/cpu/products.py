"""Linear layers on CPUs by the library that computes them fastest.

========================  ===================================================  =====================================
processor                 what is done                                         measured (Swin-T, 1 x 3 x 800 x 1344)
========================  ===================================================  =====================================
AVX-512                   float32 by oneDNN with a packed weight, GELU in the  float32: 385 to 495 GFLOP/s where
                          same pass; bfloat16 too where it has instructions    torch's own linear (MKL) has 165 to 220
                          for it and a weight serves several chunks            (two Zen 5 cores), 130 to 215 where it
                                                                               has 95 to 190 (two Zen 4 cores);
                                                                               bfloat16: 240 to 430, not 160 to 405
no bf16/fp16 instruction  products of these types in float32, rounded to the   8 times faster than torch's plain loops
                          same type                                            (two AVX2 cores)
all else                  torch's own linear                                   packing gains nothing on AVX2
========================  ===================================================  =====================================

A weight is packed for one product, or for all chunks of a map. oneDNN sums all products of a number one after the other: at 3072 of them its rounding error is 5.2e-7 (relative, root
mean square), where MKL has 2.5e-7.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from mmswin.ops.autocast import autocast_to, product_dtype

# With fewer rows, packing a weight costs more than it gains (measured on two Zen 4 cores: 500 to 1000).
MIN_ROWS = 1000


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


def _matrix_unit_dtypes() -> frozenset[torch.dtype]:
    """Types that this processor multiplies in units of their own (Intel AMX), as far as this torch knows."""
    asked = ((torch.bfloat16, '_is_amx_tile_supported'), (torch.float16, '_is_amx_fp16_supported'))
    return frozenset(dtype for dtype, name in asked if getattr(torch.cpu, name, bool)()) - _unsupported_dtypes()


_PACKABLE = frozenset((torch.float32, torch.bfloat16))
UNSUPPORTED_DTYPES = _unsupported_dtypes()
PACKED_DTYPES = _packed_dtypes()
MATRIX_UNIT_DTYPES = _matrix_unit_dtypes()


def needs_float32(x: Tensor) -> bool:
    """Whether products with ``x`` are taken in float32, because the processor has no instruction for their type."""
    return bool(UNSUPPORTED_DTYPES) and x.device.type == 'cpu' and product_dtype(x) in UNSUPPORTED_DTYPES


def has_matrix_unit(x: Tensor) -> bool:
    """Whether products with ``x`` are so fast that what is around them decides."""
    return bool(MATRIX_UNIT_DTYPES) and product_dtype(x) in MATRIX_UNIT_DTYPES and not needs_float32(x)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, gelu: str | None = None) -> Tensor:
    """``F.linear(x, weight, bias)`` without a graph, then perhaps a GELU; on any device.

    Args:
        x: ``... x in``.
        weight: ``out x in``.
        bias: ``out`` numbers, or None.
        gelu: ``approximate`` of a GELU to follow ('none' or 'tanh'); None for none.

    Returns:
        ``... x out`` in the type that autocast or ``x`` gives.
    """
    packed = PACKED_DTYPES & {torch.float32}  # in bfloat16 packing gains less than it costs for one product
    return layer(x, weight, bias, x.shape[:-1].numel(), packed)(x, gelu)


def layer(
    like: Tensor, weight: Tensor, bias: Tensor | None, rows: int, packed_dtypes: frozenset[torch.dtype] | None = None
) -> Callable[[Tensor, str | None], Tensor]:
    """:func:`linear` as a function of ``x`` and ``gelu``, for chunks: what is done to the weight is done once.

    Args:
        like: A chunk, or what has its type and device.
        weight: The weight, which may not change before the last chunk.
        bias: The bias, or None.
        rows: Those of all chunks together.
        packed_dtypes: Types whose weights are packed; :data:`PACKED_DTYPES` by default.
    """
    packed_dtypes = PACKED_DTYPES if packed_dtypes is None else packed_dtypes
    dtype = product_dtype(like)
    computed = torch.float32 if needs_float32(like) else dtype
    packs = computed in packed_dtypes and rows >= MIN_ROWS and _is_packable(like, weight, bias)
    weight, bias = weight.to(computed), None if bias is None else bias.to(computed)
    # Packed weights are not kept: what is written to a parameter's .data, as moving averages do, leaves no trace.
    packed = _pack(weight) if packs else None

    def apply(x: Tensor, gelu: str | None) -> Tensor:
        with autocast_to(x.device.type, None):  # autocast would keep the converted weights, without a graph
            x = x.to(computed)
            if packed is not None:
                rows, activation = x.reshape(-1, x.shape[-1]).contiguous(), 'none' if gelu is None else 'gelu'
                y = torch.ops.mkldnn._linear_pointwise(rows, packed, bias, activation, [], gelu)
            else:
                y = F.linear(x, weight, bias)
                y = y if gelu is None else torch.ops.aten.gelu_(y, approximate=gelu)
        return unsafe_view(y, (*x.shape[:-1], len(weight))).to(dtype)

    return apply


def unsafe_view(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x.view(shape)`` that a ``torch.autograd.Function`` may return: nobody could change a view in place."""
    return torch.ops.aten._unsafe_view(x, shape)


def product(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of two matrices without a graph, of their own type."""
    with autocast_to(left.device.type, None):
        if needs_float32(left):
            return (left.float() @ right.float()).to(left.dtype)
        return left @ right


def _is_packable(*tensors: Tensor | None) -> bool:
    return torch.backends.mkldnn.enabled and all(
        type(t) in (Tensor, Parameter) and t.dtype in _PACKABLE and t.is_cpu and t.numel()
        for t in tensors
        if t is not None
    )


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
