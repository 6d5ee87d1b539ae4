"""The triton backend: forward and backward in place on the projected map, by kernels for NVIDIA GPUs.

Shift, padding, region mask and relative position bias are index arithmetic inside the kernels; nothing is rolled,
padded or partitioned into new tensors, and the attention matrix never leaves the chip. Scores and softmax are float32
(float64 for float64 maps), as are sums; gradients are equal in every run.

What it does not compute goes another way, and says so once:

- heads that are not 32 wide, and windows of more than 256 tokens: ``reference``, chosen when the network is built;
- attention dropout in training: ``reference``;
- gradients of gradients: the gradient itself is computed by ``reference``, which has one.

**Unmeasured.** The kernels agree with ``reference`` in Triton's interpreter and compile for sm_80 and sm_90; they have
not run on a GPU. Whoever has one, in this order:

1. ``pytest tests/unit/ops/window_attention/triton`` (it takes the GPU where there is one); a map of more than 2^31 numbers.
2. Time ``forward`` and ``backward`` at stage 1 against a plain copy of as many bytes and set the figures of
   ``LAUNCHES`` (:mod:`mmswin.ops.window_attention.triton.op`). A profiler tells whether the next window's loads are
   in flight during the products; the branch of the region mask may stop that, and two kernels would fix it.
3. The operator's own time in Python, which is what counts at stages 3 and 4 without CUDA graphs.
4. Windows 12 and 16: their backward pass computes the scores four times.
"""

import importlib.util
import warnings
from functools import lru_cache

import torch
from torch import Tensor

from mmswin.ops.window_attention import reference
from mmswin.ops.windows import WindowPlan, is_recording

HEAD_WIDTH = 32
MAX_TOKENS = 256


@lru_cache(maxsize=1)
def unavailable() -> str | None:
    """Why this installation has no triton backend; None when it has one (its operators are then registered)."""
    if not hasattr(torch.library, 'custom_op'):
        return f'it needs torch 2.4 or later, and this is {torch.__version__}'
    if importlib.util.find_spec('triton') is None:
        return 'the package triton is not installed'
    try:
        import mmswin.ops.window_attention.triton.op  # noqa: F401
    except Exception as error:  # a triton that does not fit torch fails in many ways
        return f'triton cannot be used ({type(error).__name__}: {error})'
    return None


def unsupported(head_width: int | None, window: tuple[int, int] | None) -> str | None:
    """Why the kernels do not compute such heads or windows; None when they do, or when nothing is known of them."""
    if head_width not in (None, HEAD_WIDTH):
        return f'its heads are {HEAD_WIDTH} wide, and these are {head_width}'
    if window is not None and window[0] * window[1] > MAX_TOKENS:
        return f'its windows have at most {MAX_TOKENS} tokens, and {window[0]} x {window[1]} are more'
    return None


@lru_cache(maxsize=64)
def announce(reason: str) -> None:
    """Warn, once for each reason, that the reference computes instead."""
    warnings.warn(f"attention backend 'triton' leaves this to 'reference': {reason}", stacklevel=3)


def attend(
    qkv: Tensor,
    pad_value: Tensor | None,
    bias: Tensor | None,
    plan: WindowPlan,
    num_heads: int,
    scale: float,
    dropout: float,
) -> Tensor:
    """See :func:`mmswin.ops.window_attention.window_attention`."""
    reason = unsupported(qkv.shape[3] // 3 // num_heads, plan.window)
    if dropout:
        reason = 'it has no attention dropout; training with attn_drop_rate=0 is faster'
    if reason is not None:
        if not is_recording():
            announce(reason)
        return reference.attend(qkv, pad_value, bias, plan, num_heads, scale, dropout)
    device = qkv.device.type
    if qkv.dtype == torch.float32 and torch.is_autocast_enabled(device):  # as a product of two matrices would be
        qkv = qkv.to(torch.get_autocast_dtype(device))
    return torch.ops.mmswin.window_attention(
        qkv, pad_value, bias, list(plan.window), list(plan.shift), num_heads, float(scale)
    )
