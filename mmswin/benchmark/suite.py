"""A whole benchmark: every piece of work by every side, and what it was run on."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import mmswin
from mmswin.benchmark import cpu, gpu, peers
from mmswin.benchmark.equality import REFERENCE, judge
from mmswin.benchmark.machine import describe
from mmswin.benchmark.results import SideResult, WorkResult
from mmswin.benchmark.work import Work


class Settings(NamedTuple):
    """How to measure; see :func:`mmswin.benchmark.cpu.run` and :func:`mmswin.benchmark.gpu.run`."""

    rounds: int = 5
    repetitions: int = 3
    threads: int = 1
    allocators: tuple[str, ...] = ('default', 'tuned')


def run(
    works: Sequence[Work],
    sides: Sequence[str],
    settings: Settings,
    progress: Callable[[str], None] = lambda line: None,
    done: Callable[[WorkResult], None] = lambda result: None,
) -> dict[str, Any]:
    """Measure and return plain values for a JSON file.

    Args:
        works: What to time, on one device.
        sides: Names of :data:`mmswin.benchmark.peers.PEERS`; the reference is added, being what errors are set against.
        settings: How to measure.
        progress: Told what goes on.
        done: Given each result as it comes.

    Raises:
        ValueError: Unknown names, or nothing to do.
        SideFailed: A side's process died.
    """
    if not works:
        raise ValueError('nothing to time: give at least one size, mode and precision')
    sides = list(dict.fromkeys([REFERENCE, *sides]))
    for side in sides:
        peers.check_name(side)
    for name in settings.allocators:
        if name not in cpu.ALLOCATORS:
            raise ValueError(f'allocator {name!r} is unknown; choose from {", ".join(cpu.ALLOCATORS)}')
    device = works[0].device
    allocators = settings.allocators if torch.device(device).type == 'cpu' else ('default',)
    results = []
    for work in works:
        source = peers.source_model(peers.Spec(work.arch, work.window_size, 0.0))
        tensors = source.state_dict()
        progress(work.label)
        verdicts = judge(sides, work, tensors, progress)
        for allocator in allocators:
            result = WorkResult(work, allocator, {side: SideResult(side, verdicts[side]) for side in sides})
            able = [side for side in result.sides.values() if side.verdict.reason is None]
            _time(work, able, allocator, tensors, settings, progress)
            results.append(result)
            done(result)
    return {
        'mmswin': mmswin.__version__,
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'machine': describe(device),
        'settings': settings._asdict(),
        'results': [result.as_dict() for result in results],
    }


def _time(
    work: Work,
    sides: Sequence[SideResult],
    allocator: str,
    tensors: dict[str, torch.Tensor],
    settings: Settings,
    progress: Callable[[str], None],
) -> None:
    if torch.device(work.device).type != 'cpu':
        gpu.run(work, sides, tensors, settings.rounds, settings.repetitions, progress)
        return
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, 'weights.pth')
        torch.save(tensors, weights)
        cpu.run(work, sides, allocator, weights, Path(folder), settings.rounds, settings.repetitions,
                settings.threads, progress)
