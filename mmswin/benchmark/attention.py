"""The attention kernels alone: are they right, and how near do they come to a plain copy of the same bytes?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmswin.benchmark.budget import LeftOut
from mmswin.benchmark.timing import Summary, interleave
from mmswin.benchmark.work import synchronize
from mmswin.ops.window_attention import reference, resolve_backend, window_attention

HEAD_WIDTH = 32
# A side's error may be so many times the reference's own in the same type.
MARGIN = 2.0
# Inputs are changed in turn so that no cache holds them.
_ROTATED_BYTES = 2**28
# What else computes the same: a backend of ours and, on a GPU, the kernel that torch's attention has to use.
_OTHERS = {
    'reference': ('reference', None),
    'sdpa': ('sdpa', None),
    'sdpa, memory-efficient': ('sdpa', 'EFFICIENT_ATTENTION'),
    'sdpa, cuDNN': ('sdpa', 'CUDNN_ATTENTION'),
}
_NAMES = ('values', 'gradient of qkv', 'gradient of the bias', "gradient of the padding's value")


class Case(NamedTuple):
    """A map ``batch x height x width`` with heads of 32 channels, and how it is cut into windows."""

    batch: int
    height: int
    width: int
    window: tuple[int, int]
    shift: tuple[int, int]
    heads: int

    @property
    def channels(self) -> int:
        return self.heads * HEAD_WIDTH

    @property
    def label(self) -> str:
        shift = 'shifted' if any(self.shift) else 'not shifted'
        window = 'x'.join(map(str, self.window))
        return f'{self.batch}x{self.height}x{self.width}, {self.heads} heads, windows {window} {shift}'


def _case(values: Sequence[Any]) -> Case:
    batch, height, width, window, shift, heads = values
    return Case(batch, height, width, tuple(window), tuple(shift), heads)


def _inputs(case: Case, dtype: torch.dtype, device: str) -> list[Tensor]:
    """qkv, bias, pad_value and the gradient of the output, random."""
    torch.manual_seed(0)
    tokens, channels = case.window[0] * case.window[1], case.channels
    space = (case.batch, case.height, case.width)
    shapes = [(*space, 3 * channels), (case.heads, tokens, tokens), (3 * channels,), (*space, channels)]
    return [torch.randn(shape, device=device, dtype=torch.float32).to(dtype) for shape in shapes]


def _attend(case: Case, inputs: Sequence[Tensor], backend: Callable[..., Tensor]) -> Tensor:
    qkv, bias, pad_value = inputs
    scale = HEAD_WIDTH**-0.5
    return window_attention(qkv, bias, case.window, case.shift, case.heads, scale, pad_value, 0.0, backend)


def _run(backend: Callable[..., Tensor], case: Case, inputs: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """What :data:`_NAMES` lists."""
    *inputs, grad = (tensor.to(dtype) for tensor in inputs)
    qkv, bias, pad_value = (tensor.requires_grad_() for tensor in (tensor.clone() for tensor in inputs))
    out = _attend(case, (qkv, bias, pad_value), backend)
    gradients = torch.autograd.grad(out, (qkv, bias, pad_value), grad, allow_unused=True)
    return [out.detach(), *(torch.zeros_like(x) if g is None else g for g, x in zip(gradients, (qkv, bias, pad_value)))]


def correctness(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the triton backend with the reference in float64, values and all gradients.

    Args:
        arguments: ``device``, ``cases`` (each a :class:`Case` as a list), ``dtypes`` (torch's names).

    Returns:
        ``agrees``, and for every case and type the root mean square errors over the size of what is right: the
        kernels' and, in the same type, the reference's own.
    """
    device, triton = arguments['device'], resolve_backend('triton')
    rows = []
    for values in arguments['cases']:
        case = _case(values)
        for name in arguments['dtypes']:
            dtype = getattr(torch, name)
            inputs = _inputs(case, dtype, device)
            exact = _run(reference.attend, case, inputs, torch.float64)
            mine, plain = (_run(backend, case, inputs, dtype) for backend in (triton, reference.attend))
            errors = {what: [_error(a, truth), _error(b, truth)]
                      for what, a, b, truth in zip(_NAMES, mine, plain, exact)}  # fmt: skip
            rows.append({'case': case.label, 'dtype': name, 'agrees': _agrees(errors, dtype), 'errors': errors})
    return {'agrees': all(row['agrees'] for row in rows), 'cases': rows}


def _agrees(errors: Mapping[str, Sequence[float]], dtype: torch.dtype) -> bool:
    least = 1e-12 if dtype == torch.float64 else 0.0  # there both are rounding alone
    return all(ours <= MARGIN * theirs + least for ours, theirs in errors.values())


def _error(found: Tensor, truth: Tensor) -> float:
    size = truth.square().mean().sqrt().item()
    error = (found.double() - truth).square().mean().sqrt().item()
    return error / size if size else error


def large_map(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the triton backend with the reference on a map of more numbers than 32 bits count.

    The reference cannot hold such a map. It computes a band of whole windows near the bottom, behind the last place
    that 32 bits reach: windows of other rows do not touch it, so values there, and gradients of an output gradient that
    is zero elsewhere, are those of the whole map.

    Args:
        arguments: ``device``, ``dtype``, ``case`` with a shift, ``bands`` (rows of windows that are compared).

    Raises:
        LeftOut: The device has not the memory.
    """
    case, dtype, device = _case(arguments['case']), getattr(torch, arguments['dtype']), arguments['device']
    numbers = case.batch * case.height * case.width * 3 * case.channels
    needed = 4 * numbers * dtype.itemsize  # qkv, its gradient, output, the output's gradient, and some room
    if torch.device(device).type == 'cuda' and needed > torch.cuda.mem_get_info()[0]:
        raise LeftOut(f'a map of {numbers:.2e} numbers needs about {needed / 1e9:.0f} GB of GPU memory')
    rows, shift = case.window[0], case.shift[0]
    # Windows of full rows lie at shift + n * rows; the last of them that does not wrap around is the band's end.
    end = shift + (case.height - shift) // rows * rows
    start = end - arguments['bands'] * rows
    generator = torch.Generator(device).manual_seed(0)
    tokens, space = rows * case.window[1], (case.batch, case.height, case.width)
    qkv = torch.empty(*space, 3 * case.channels, device=device, dtype=dtype).normal_(generator=generator)
    bias, pad_value = (torch.randn(shape, device=device, generator=generator).to(dtype)
                       for shape in ((case.heads, tokens, tokens), (3 * case.channels,)))  # fmt: skip
    grad = torch.zeros(*space, case.channels, device=device, dtype=dtype)
    grad[-1, start:end].normal_(generator=generator)
    inputs = [tensor.requires_grad_() for tensor in (qkv, bias, pad_value)]
    out = _attend(case, inputs, resolve_backend('triton'))
    found = torch.autograd.grad(out, inputs, grad)
    elsewhere = [found[0][-1, :start].abs().max().item(), found[0][:-1].abs().max().item() if case.batch > 1 else 0.0]
    mine = [out[-1, start:end].detach(), found[0][-1, start:end], found[1], found[2]]
    band = case._replace(batch=1, height=end - start, shift=(0, case.shift[1]))
    share = [qkv[-1:, start:end].detach(), bias.detach(), pad_value.detach(), grad[-1:, start:end]]
    exact, plain = (_run(reference.attend, band, share, kind) for kind in (torch.float64, dtype))
    errors = {name: [_error(a, truth.reshape(a.shape)), _error(b, truth)]
              for name, a, b, truth in zip(_NAMES, mine, plain, exact)}  # fmt: skip
    agrees = max(elsewhere) == 0 and _agrees(errors, dtype)
    first = (((case.batch - 1) * case.height + start) * case.width) * 3 * case.channels
    return {'agrees': agrees, 'case': case.label, 'dtype': arguments['dtype'], 'numbers': numbers,
            'first_compared': first, 'errors': errors}  # fmt: skip


def device_seconds(calls: Sequence[Callable[[], Any]], device: str, replays: int = 10) -> float:
    """Seconds of one of some calls that do the same on different tensors, all of them done in turn.

    On a GPU they are captured in a CUDA graph, so that launching costs nothing, and the median replay counts.
    """
    for call in calls:
        call()
    synchronize(device)
    if torch.device(device).type != 'cuda':
        return median(_wall(calls) for _ in range(replays)) / len(calls)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    graph.replay()
    spans = []
    for _ in range(replays):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        spans.append((start, end))
    torch.cuda.synchronize()
    return median(start.elapsed_time(end) for start, end in spans) / 1e3 / len(calls)


def _wall(calls: Sequence[Callable[[], Any]]) -> float:
    start = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - start


def ceilings(arguments: Mapping[str, Any]) -> dict[str, float]:
    """What the device reaches at best.

    Args:
        arguments: ``device``; ``copied`` bytes of a large copy; ``side`` of a square product in bfloat16.

    Returns:
        ``copy`` in bytes a second, read and written ones counted; ``product`` in operations a second.
    """
    device, side = arguments['device'], arguments['side']
    source = torch.randn(arguments['copied'] // 4, device=device)
    target = torch.empty_like(source)
    copy = 2 * source.nbytes / device_seconds([lambda: target.copy_(source)], device)
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    product = 2 * side**3 / device_seconds([lambda: torch.mm(a, b)], device)
    return {'copy': copy, 'product': product}


def kernel(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Time the triton backend's operators beside a copy that reads and writes as many bytes, in alternate order.

    Forward reads q, k, v and writes the output: 4 numbers for a token and channel. Backward reads these and the
    output's gradient and writes that of q, k, v: 7.

    Args:
        arguments: ``device``, ``dtype``, ``cases``, ``rounds``, ``replays`` (of which a round's figure is the median).

    Returns:
        For each case and direction: ``bytes``, ``seconds`` of kernel and copy by rounds, and of the median round
        ``rate`` in bytes a second and ``share_of_copy``; for forward also ``others``, the seconds of what else computes
        the same, or why it cannot.
    """
    resolve_backend('triton')  # registers the operators
    rows = []
    for values in arguments['cases']:
        case = _case(values)
        rows += [_time_kernel(case, direction, arguments) for direction in ('forward', 'backward')]
    return {'kernels': rows}


def _time_kernel(case: Case, direction: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    dtype, device = getattr(torch, arguments['dtype']), arguments['device']
    tokens = case.batch * case.height * case.width
    moved = tokens * case.channels * dtype.itemsize * (4 if direction == 'forward' else 7)
    # The interpreter needs no second set.
    number = min(8, max(2, -(-_ROTATED_BYTES // moved))) if torch.device(device).type == 'cuda' else 1
    sets = [_inputs(case, dtype, device) for _ in range(number)]
    options = (list(case.window), list(case.shift), case.heads, HEAD_WIDTH**-0.5)
    attend, backward = torch.ops.mmswin.window_attention, torch.ops.mmswin.window_attention_backward

    def forward_call(qkv: Tensor, bias: Tensor, pad: Tensor, grad: Tensor) -> Callable[[], Any]:
        return lambda: attend(qkv, pad, bias, *options)

    def backward_call(qkv: Tensor, bias: Tensor, pad: Tensor, grad: Tensor) -> Callable[[], Any]:
        return lambda: backward(grad, qkv, pad, bias, *options, True, True)

    calls = [(forward_call if direction == 'forward' else backward_call)(*tensors) for tensors in sets]
    buffers = [torch.randn(2, moved // 2 // 4, device=device) for _ in sets]
    copies = [lambda pair=pair: pair[1].copy_(pair[0]) for pair in buffers]
    turns = {
        name: lambda turn=turn: device_seconds(turn, device, arguments['replays'])
        for name, turn in (('kernel', calls), ('copy', copies))
    }
    seconds = interleave(turns, arguments['rounds'])
    shares = Summary.of([copy / kernel for kernel, copy in zip(seconds['kernel'], seconds['copy'])])
    row = {'case': case.label, 'direction': direction, 'bytes': moved, 'seconds': seconds,
           'rate': moved / median(seconds['kernel']), 'share_of_copy': shares.median}  # fmt: skip
    if direction == 'forward':
        row['others'] = _others(case, sets[0], device)
    return row


def _others(case: Case, tensors: Sequence[Tensor], device: str) -> dict[str, float | str]:
    """Forward seconds of :data:`_OTHERS`, windows cut and put together again; why not where one cannot."""
    found: dict[str, float | str] = {}
    for name, (backend, kernels) in _OTHERS.items():
        if kernels and torch.device(device).type != 'cuda':
            continue
        call = partial(_attend, case, tensors[:3], resolve_backend(backend))
        try:
            with torch.no_grad(), _only(kernels) if kernels else nullcontext():
                found[name] = device_seconds([call], device)
        except (RuntimeError, ImportError) as error:
            found[name] = str(error).partition('\n')[0]
    return found


def _only(kernels: str) -> AbstractContextManager:
    from torch.nn.attention import SDPBackend, sdpa_kernel  # since torch 2.3

    return sdpa_kernel(getattr(SDPBackend, kernels))
