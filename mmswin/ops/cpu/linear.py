"""Linear layers on CPUs, by the library that is faster there.

torch gives float32 products to MKL and convolutions to oneDNN. On some processors (AMD with AVX-512) oneDNN is up to
twice as fast at the same product, written as a 1 x 1 convolution; on others there is no difference. Which it is, is
measured once for each shape, on the spot, and not guessed from the processor's name.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter

from mmswin.ops.caches import ForkSafeLock
from mmswin.ops.cpu.parallel import watched
from mmswin.ops.low_precision import autocast_type, slow_type, widened

# The other route is taken if it needs less than this part of the time.
WORTH_IT = 0.87
# Products are timed with at most so many rows.
PROBE_ROWS = 512
# A convolution adds up so many products at a time. oneDNN adds all of them one after the other, which for 2048 of them
# is three times as inexact as what MKL does, whose blocks have about this length.
SUMMED = 256


def _as_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``rows x in`` to ``rows x out``: an image of one row whose channels are last in memory."""
    parts = -(-x.shape[1] // SUMMED)
    if parts > 1:
        first, *others = zip(x.tensor_split(parts, 1), weight.tensor_split(parts, 1))
        out = _as_convolution(*first, bias)
        for other in others:
            out.add_(_as_convolution(*other, None))
        return out
    # A transposed weight, as backward has it, would go to a slower convolution of torch's own.
    image, filters = x.contiguous()[None, None].permute(0, 3, 1, 2), weight.contiguous()[:, :, None, None]
    if torch.get_num_threads() == 1:  # then F.conv2d does not go to oneDNN
        out = torch.ops.aten.mkldnn_convolution(image, filters, bias, (0, 0), (1, 1), (1, 1), 1)
    else:
        out = F.conv2d(image, filters, bias)
    return out.permute(0, 2, 3, 1)[0, 0]


ROUTES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    'linear': F.linear,
    'convolution': _as_convolution,
}


def _fastest(rows: int, inputs: int, outputs: int) -> str:
    # Not random: the user's random numbers are his.
    x, weight = torch.ones(rows, inputs, device='cpu'), torch.ones(outputs, inputs, device='cpu')
    best = {}
    with torch.inference_mode(), torch.autocast('cpu', enabled=False):
        for _ in range(4):  # the first of each is warm-up
            for name, route in ROUTES.items():
                start = time.perf_counter()
                route(x, weight, None)
                best.setdefault(name, []).append(time.perf_counter() - start)
    seconds = {name: min(times[1:]) for name, times in best.items()}
    return 'convolution' if seconds['convolution'] < WORTH_IT * seconds['linear'] else 'linear'


_known: dict[tuple[int, ...], str] = {}
_measuring = ForkSafeLock()


def _chosen(rows: int, inputs: int, outputs: int, threads: int) -> str:
    shape = rows, inputs, outputs, threads
    if shape not in _known:
        with _measuring:  # threads that work side by side wait for the first of them
            if shape not in _known:
                _known[shape] = _fastest(rows, inputs, outputs)
    return _known[shape]


def route(x: Tensor, weight: Tensor) -> str:
    """The name in :data:`ROUTES` of what computes ``x @ weight.T`` faster; ``x`` is ``rows x in``.

    Only float32 on a CPU is measured, at the next lower power of two of rows; all else is torch's own, and so is
    everything under ``torch.use_deterministic_algorithms`` and where something watches operations.
    """
    plain = type(x) is Tensor and x.device.type == 'cpu' and x.dtype == weight.dtype == torch.float32
    plain = plain and type(weight) in (Tensor, Parameter)  # and not a quantised one
    if not plain or len(x) < 64 or not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return 'linear'
    # Which route wins may differ from process to process, and with it the last bits.
    if autocast_type('cpu') is not None or torch.are_deterministic_algorithms_enabled() or watched():
        return 'linear'
    rows = min(1 << (len(x).bit_length() - 1), PROBE_ROWS)
    return _chosen(rows, weight.shape[1], weight.shape[0], torch.get_num_threads())


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """``F.linear`` of ``rows x in``, on the route that is faster here; into ``out`` if given (without gradients)."""
    narrow = slow_type(x)
    if narrow is not None:
        with torch.autocast('cpu', enabled=False):
            wide = linear(*widened(x, weight, bias)).to(narrow)
        return wide if out is None else out.copy_(wide)
    way = route(x, weight)
    if out is None:
        return ROUTES[way](x, weight, bias)
    if way != 'linear':
        return out.copy_(ROUTES[way](x, weight, bias))
    return torch.mm(x, weight.t(), out=out) if bias is None else torch.addmm(bias, x, weight.t(), out=out)
