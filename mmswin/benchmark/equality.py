"""The gate before timing: a side must be about as exact as the reference, measured against float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmswin.benchmark import peers
from mmswin.benchmark.work import Work, autocast, parse_size

# A side's error may exceed the reference's by this factor: another order of summation moves it by a few per cent.
MARGIN = 1.2
REFERENCE = 'mmswin-reference'


class Verdict(NamedTuple):
    """A side's error and the reference's, relative to float64 (root mean square over root mean square).

    The largest over the four maps and, in training, the gradient that reaches the image through the whole backward
    pass. ``reason`` says why a side takes no part; None if it does.
    """

    error: float | None
    reference: float | None
    reason: str | None = None


class _Result(NamedTuple):
    """Outputs, one for each stage, and in training the image's gradient; float64, on the CPU."""

    maps: list[Tensor]
    gradient: Tensor | None


def gate_size(work: Work, aligned: bool) -> tuple[int, int, int]:
    """The work's first size; if ``aligned``, the nearest whose maps are whole windows at every stage."""
    count, height, width = parse_size(work.sizes[0])
    if aligned:
        unit = 32 * work.window_size
        height, width = (max(2, round(side / unit)) * unit for side in (height, width))
    return count, height, width


def _run(model: nn.Module, work: Work, aligned: bool, exact: bool = False) -> _Result:
    training = work.mode == 'training'
    count, height, width = gate_size(work, aligned)
    image = torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(2))
    image = image.to(work.device, torch.float64 if exact else torch.float32).requires_grad_(training)
    nn.Module.train(model, training)
    with torch.set_grad_enabled(training):
        if exact:
            maps = model(image)
        else:
            with autocast(work):
                maps = model(image)
        if training:
            generator = torch.Generator().manual_seed(3)
            weights = [torch.randn(m.shape, generator=generator, dtype=torch.float64) for m in maps]
            sum((m * weight.to(m.device, m.dtype)).sum() for m, weight in zip(maps, weights)).backward()
            model.zero_grad(set_to_none=True)
    gradient = image.grad.double().cpu() if training else None
    return _Result([m.detach().double().cpu() for m in maps], gradient)


def _error(found: _Result, wanted: _Result) -> float:
    pairs = list(zip(found.maps, wanted.maps))
    if wanted.gradient is not None:
        pairs.append((found.gradient, wanted.gradient))
    for a, b in pairs:
        if a.shape != b.shape:
            raise peers.Unavailable(f'its maps have other sizes, {tuple(a.shape)} instead of {tuple(b.shape)}')
    return max(((a - b).square().mean() / b.square().mean()).sqrt().item() for a, b in pairs)


def judge(
    sides: Sequence[str], work: Work, tensors: Mapping[str, Tensor], progress: Callable[[str], None] = lambda line: None
) -> dict[str, Verdict]:
    """Compare every side with float64 at the work's first size, drop path off.

    Sides that pad otherwise (:data:`mmswin.benchmark.peers.PADS_OTHERWISE`) compute another function where maps are no
    multiples of the window; they are compared at the nearest size where they do not, and timed at the work's.

    Args:
        sides: Names of :data:`mmswin.benchmark.peers.PEERS`.
        work: What will be timed.
        tensors: Weights of all sides, under the authors' names.
        progress: Told what goes on.
    """
    spec = peers.Spec(work.arch, work.window_size, 0.0)
    exact: dict[bool, _Result] = {}
    reference: dict[bool, float] = {}
    verdicts = {}
    for side in sides:
        progress(f'{side}: comparing with float64')
        aligned = side.removesuffix(peers.COMPILED) in peers.PADS_OTHERWISE
        if aligned not in exact:
            oracle = peers.build(REFERENCE, spec, tensors, work.device)
            found = _run(oracle, work, aligned)
            exact[aligned] = _run(oracle.double(), work, aligned, exact=True)
            reference[aligned] = _error(found, exact[aligned])
        try:
            error = _error(_run(peers.build(side, spec, tensors, work.device), work, aligned), exact[aligned])
        except peers.Unavailable as missing:
            verdicts[side] = Verdict(None, None, str(missing))
            continue
        finally:
            torch.compiler.reset()  # the timed sizes must not be served by what this size compiled
        verdicts[side] = Verdict(error, reference[aligned], _complaint(error, reference[aligned]))
    return verdicts


def _complaint(error: float, reference: float) -> str | None:
    if error <= MARGIN * reference:
        return None
    return f"not equal: its error is {error:.2e}, more than {MARGIN} times the reference's {reference:.2e}"
