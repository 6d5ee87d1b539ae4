"""What ``attn_backend='auto'`` stands for.

On a CUDA device it is the backend that is fastest there, of those that agree with ``reference`` on it: each is compared
and timed once for a device, type, head width and window, in milliseconds, and the log says which it is. Under
deterministic algorithms nothing is timed, so that two runs take the same one. Everywhere else it is ``reference``.
"""

import logging
import statistics
import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from mmswin.ops.caches import register_cache
from mmswin.ops.window_attention import reference, sdpa
from mmswin.ops.window_attention.triton import backend as triton_backend
from mmswin.ops.windows import WindowPlan, window_plan

Attend = Callable[..., Tensor]

# Devices on which backends are compared.
DEVICES = ('cuda',)
# In this order where nothing is timed.
CANDIDATES: dict[str, Attend] = {'triton': triton_backend.attend, 'sdpa': sdpa.attend, 'reference': reference.attend}
# Tokens in each direction of the map that is timed, about, in whole windows: somewhat more than stage 2 of an image of 800 x
# 1344 has. A map of as many windows for all would take gigabytes where they are large.
TIMED_SIDE = 168
TIMED_RUNS = 7


@lru_cache(maxsize=256)
def choose(device: torch.device, dtype: torch.dtype, head_width: int, window: tuple[int, int], timed: bool) -> str:
    """The name of the backend for a device, type, head width and window.

    Args:
        device: Where the map is.
        dtype: Type of the map.
        head_width: Channels of a head.
        window: Rows and columns of a window.
        timed: Whether the fastest is taken; otherwise the first that agrees.
    """
    if device.type not in DEVICES:
        return 'reference'
    reasons, seconds = {}, {}
    for name, attend in CANDIDATES.items():
        reasons[name] = _reason_against(name, attend, device, dtype, head_width, window)
        if reasons[name] is None:
            if not timed:
                break
            seconds[name] = _seconds(attend, device, dtype, head_width, window)
    name = min(seconds, key=seconds.__getitem__, default=name)  # untimed, the first that agrees
    times = ', '.join(f'{other} {1e3 * value:.2f} ms' for other, value in seconds.items())
    against = '; '.join(f'not {other}: {reason}' for other, reason in reasons.items() if reason is not None)
    parts = ' '.join(f'({part})' for part in (times, against) if part)
    logging.getLogger('mmswin').log(
        logging.WARNING if against else logging.INFO,
        f"attn_backend='auto' is '{name}' on {device} in {dtype} with windows of {window[0]} x {window[1]} {parts}",
    )
    return name


register_cache(choose.cache_clear)


def _reason_against(
    name: str, attend: Attend, device: torch.device, dtype: torch.dtype, head_width: int, window: tuple[int, int]
) -> str | None:
    if name == 'reference':
        return None
    lacking = name == 'triton' and (triton_backend.unavailable() or triton_backend.unsupported(head_width, window))
    return lacking or disagreement(attend, device, dtype, head_width, window)


def _inputs(
    device: torch.device, dtype: torch.dtype, head_width: int, window: tuple[int, int], sides: tuple[int, int]
) -> list[Tensor]:
    """A map, the value of padding, a bias, and a gradient of the output; two heads."""
    channels, tokens = 2 * head_width, window[0] * window[1]
    shapes = [(1, *sides, 3 * channels), (3 * channels,), (2, tokens, tokens), (1, *sides, channels)]
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, device='cpu').to(device, dtype) for shape in shapes]


def _step(attend: Attend, inputs: list[Tensor], plan: WindowPlan, head_width: int) -> list[Tensor]:
    *inputs, grad = inputs
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]
    out = attend(*inputs, plan, 2, head_width**-0.5, 0.0)
    return [out.detach(), *torch.autograd.grad(out, inputs, grad)]


def disagreement(
    attend: Attend, device: torch.device, dtype: torch.dtype, head_width: int, window: tuple[int, int]
) -> str | None:
    """Compare a backend with the reference on a small padded, shifted map, values and gradients.

    The truth is the reference in float64; an error of up to four times the reference's own in ``dtype`` passes.

    Returns:
        Where they differ, or what was raised; None when they agree.
    """
    try:
        sides = 2 * window[0] - 1, 2 * window[1] - 1
        plan = window_plan(*sides, window, (window[0] // 2, window[1] // 2))
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            inputs = _inputs(device, dtype, head_width, window, sides)
            mine, plain = (_step(function, inputs, plan, head_width) for function in (attend, reference.attend))
            truth = _step(reference.attend, [tensor.double() for tensor in inputs], plan, head_width)
        for name, ours, theirs, exact in zip(('values', 'd qkv', 'd pad value', 'd bias'), mine, plain, truth):
            error, own = ((tensor.double() - exact).abs().max().item() for tensor in (ours, theirs))
            allowed = 4 * own + 1e-5 * exact.abs().max().item()
            if not error <= allowed:
                return f'{name} differ from the reference by {error:.1e}, more than {allowed:.1e}'
    except Exception as error:  # whatever a compiler or a driver comes up with must not stop a run
        return f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else "no message"}'
    return None


def _seconds(
    attend: Attend, device: torch.device, dtype: torch.dtype, head_width: int, window: tuple[int, int]
) -> float:
    """Median time of forward and backward."""
    sides = tuple(max(TIMED_SIDE // side, 1) * side for side in window)
    plan = window_plan(*sides, window, (window[0] // 2, window[1] // 2))
    synchronize = torch.cuda.synchronize if device.type == 'cuda' else lambda device: None
    times = []
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        inputs = _inputs(device, dtype, head_width, window, sides)
        for _ in range(2 + TIMED_RUNS):
            synchronize(device)
            start = time.perf_counter()
            _step(attend, inputs, plan, head_width)
            synchronize(device)
            times.append(time.perf_counter() - start)
    return statistics.median(times[2:])
