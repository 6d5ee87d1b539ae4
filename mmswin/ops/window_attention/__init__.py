"""Shifted-window attention: one function, one table of backends.

A backend takes and returns the image layout; padding, shift, partition and mask are its own business, so that it may
do them without copies. All of them compute what ``reference`` computes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mmswin.ops.autocast import autocast_to, product_dtype
from mmswin.ops.cpu import attention as cpu_attention
from mmswin.ops.cpu.products import needs_float32
from mmswin.ops.window_attention import auto, reference, sdpa
from mmswin.ops.window_attention.triton import backend as triton_backend
from mmswin.ops.windows import WindowPlan, is_plain, window_plan

BACKENDS: dict[str, Callable[..., Tensor]] = {
    'reference': reference.attend,
    'sdpa': sdpa.attend,
    'triton': triton_backend.attend,
}
AUTO = 'auto'


def _choice(device: torch.device, dtype: torch.dtype, head_width: int, window: tuple[int, int]) -> str:
    timed = not torch.are_deterministic_algorithms_enabled()
    return auto.choose(device, dtype, head_width, window, timed)


# torch.compile calls it while it records and takes the answer as a constant. That is all that
# torch.compiler.assume_constant_result does, which would import the compiler here.
_choice._dynamo_marked_constant = True


def _is_exporting() -> bool:
    """Whether torch.export or torch.jit.trace records: for machines that need not have Triton, or a GPU."""
    exporting = getattr(torch.compiler, 'is_exporting', None)  # since torch 2.7
    return torch.jit.is_tracing() or (exporting is not None and exporting())


def _automatic(
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
    dropout: float,
) -> Tensor:
    """See :mod:`mmswin.ops.window_attention.auto`."""
    if qkv.device.type in auto.DEVICES and not _is_exporting():
        name = _choice(qkv.device, qkv.dtype, qkv.shape[3] // 3 // num_heads, plan.window)
        return BACKENDS[name](qkv, pad_value, bias, plan, num_heads, scale, dropout)
    if needs_float32(qkv):
        with autocast_to('cpu', None):
            return _automatic(qkv.float(), pad_value, bias, plan, num_heads, scale, dropout).to(qkv.dtype)
    on_cpu = qkv.device.type == 'cpu'
    # The type of the scores is that of q and k there.
    if on_cpu and is_plain(qkv) and not dropout and product_dtype(qkv) in (torch.float32, torch.float64):
        return cpu_attention.attend(qkv, pad_value, bias, plan, num_heads, scale)
    return reference.attend(qkv, pad_value, bias, plan, num_heads, scale, dropout)


def resolve_backend(
    name: str, head_width: int | None = None, window: tuple[int, int] | None = None
) -> Callable[..., Tensor]:
    """The function behind a backend's name.

    ``'auto'`` is the fastest that agrees with the reference on a CUDA device (:mod:`mmswin.ops.window_attention.auto`),
    and the reference everywhere else and in exported and traced programs.

    Args:
        name: ``'auto'`` or one of :data:`BACKENDS`.
        head_width: Channels of a head, if known.
        window: Rows and columns of a window, if known. A backend that does not compute such heads or windows is
            replaced by the reference, with a warning.

    Raises:
        ValueError: The name is not in the table, or what it needs is not installed.
    """
    if name == AUTO:
        return _automatic
    known = ', '.join(map(repr, [AUTO, *sorted(BACKENDS)]))
    if name not in BACKENDS:
        raise ValueError(f'attention backend {name!r} is unknown; choose one of {known}')
    if name == 'triton':
        reason = triton_backend.unavailable()
        if reason is not None:
            available = known.replace(", 'triton'", '')
            raise ValueError(f"attention backend 'triton' is not available: {reason}; choose one of {available}")
        reason = triton_backend.unsupported(head_width, window)
        if reason is not None:
            triton_backend.announce(reason)
            return BACKENDS['reference']
    return BACKENDS[name]


def window_attention(
    qkv: Tensor,
    bias: Tensor | None,
    window: tuple[int, int],
    shift: tuple[int, int],
    num_heads: int,
    scale: float,
    pad_value: Tensor | None = None,
    dropout: float = 0.0,
    backend: Callable[..., Tensor] = BACKENDS['reference'],
    shift_small_maps: bool = True,
) -> Tensor:
    """softmax(scale * Q K^T + bias) V inside each window (paper, section 3.2, equation 4).

    Args:
        qkv: Projected map, ``B x H x W x 3C``, channels ordered (q, k, v) x head x head width.
        bias: Relative position bias, ``heads x tokens x tokens``, or None.
        window: Rows and columns of a window, in tokens.
        shift: Rows and columns by which windows are displaced; (0, 0) for regular windows.
        num_heads: Heads; divides C.
        scale: Factor on Q K^T.
        pad_value: q, k, v of a padded token, ``3C`` numbers. A padded token is a zero before the projection and takes
            part, so this is the projection's bias; None stands for zeros.
        dropout: Probability of dropping an attention weight; pass 0 outside training.
        backend: One of :data:`BACKENDS`' functions, from :func:`resolve_backend`.
        shift_small_maps: False leaves out the shift on maps that are no larger than a window.

    Returns:
        ``B x H x W x C``.
    """
    plan = window_plan(qkv.shape[1], qkv.shape[2], window, shift, shift_small_maps)
    return backend(qkv, pad_value, bias, plan, num_heads, scale, dropout)
