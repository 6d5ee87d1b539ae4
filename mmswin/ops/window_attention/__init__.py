"""Shifted-window attention: one function, one table of backends.

A backend takes and returns the image layout; padding, shift, partition and mask are its own business, so that it may
do them without copies. All of them compute what ``reference`` computes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mmswin.ops.window_attention import reference, sdpa
from mmswin.ops.windows import window_plan

BACKENDS: dict[str, Callable[..., Tensor]] = {'reference': reference.attend, 'sdpa': sdpa.attend}
AUTO = 'auto'


def resolve_backend(name: str) -> Callable[..., Tensor]:
    """The function behind a backend's name; ``'auto'`` is the reference on every device for now.

    Raises:
        ValueError: The name is not in the table.
    """
    if name == AUTO:
        return BACKENDS['reference']
    if name not in BACKENDS:
        known = ', '.join(map(repr, [AUTO, *sorted(BACKENDS)]))
        raise ValueError(f'attention backend {name!r} is unknown; choose one of {known}')
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

    Returns:
        ``B x H x W x C``.
    """
    plan = window_plan(qkv.shape[1], qkv.shape[2], window, shift)
    return backend(qkv, pad_value, bias, plan, num_heads, scale, dropout)
