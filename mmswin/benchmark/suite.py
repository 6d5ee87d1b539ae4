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
from mmswin.benchmark.equality import REFERENCE, Verdict, judge
from mmswin.benchmark.machine import check_device, describe
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
    done: Callable[[dict[str, Any], WorkResult], None] = lambda values, result: None,
) -> dict[str, Any]:
    """Measure and return plain values for a JSON file.

    Args:
        works: What to time, on one device.
        sides: Names of :data:`mmswin.benchmark.peers.PEERS`; the reference is added, being what errors are set against.
        settings: How to measure.
        progress: Told what goes on.
        done: Given all values so far, and each result as it comes.

    Raises:
        ValueError: Unknown names, numbers out of their range, a device that is not there, or nothing to do.
        SideFailed: A side's process died.
    """
    absent = _checked(works, sides, settings)
    for side, reason in absent.items():
        progress(f'{side} takes no part: {reason}')
    sides = list(dict.fromkeys([REFERENCE, *sides]))
    device = works[0].device
    allocators = settings.allocators if torch.device(device).type == 'cpu' else ('default',)
    values: dict[str, Any] = {
        'mmswin': mmswin.__version__,
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'machine': describe(device),
        'settings': settings._asdict(),
        'results': [],
    }
    parts = len(works) * len(allocators)
    for work in works:
        source = peers.source_model(peers.Spec(work.arch, work.window_size, 0.0))
        tensors = source.state_dict()
        verdicts: dict[str, Verdict] = {}
        for allocator in allocators:
            part = f'part {len(values["results"]) + 1} of {parts}: ' if parts > 1 else ''
            progress(f'{part}{work.label}, allocator {allocator}')
            if not verdicts:
                verdicts = judge([side for side in sides if side not in absent], work, tensors, progress)
                verdicts |= {side: Verdict(None, None, reason) for side, reason in absent.items()}
            result = WorkResult(work, allocator, {side: SideResult(side, verdicts[side]) for side in sides})
            able = [side for side in result.sides.values() if side.verdict.reason is None]
            _time(work, able, allocator, tensors, settings, progress)
            values['results'].append(result.as_dict())
            done(values, result)
    return values


def _checked(works: Sequence[Work], sides: Sequence[str], settings: Settings) -> dict[str, str]:
    """All that can be known before any work; returns the sides that cannot take part, and why."""
    if not works:
        raise ValueError('nothing to time: give at least one size, mode and precision')
    for name in ('rounds', 'repetitions', 'threads'):
        if getattr(settings, name) < 1:
            raise ValueError(f'--{name} {getattr(settings, name)}: give 1 or more')
    for side in sides:
        peers.check_name(side)
    for name in settings.allocators:
        if name not in cpu.ALLOCATORS:
            raise ValueError(f'allocator {name!r} is unknown; choose from {", ".join(cpu.ALLOCATORS)}')
    check_device(works[0].device)
    missing = {side: peers.missing_library(side) for side in sides}
    absent = {side: f'{library} is not installed' for side, library in missing.items() if library}
    if absent and len(absent) == len(missing):
        reasons = ', '.join(f'{side} ({reason})' for side, reason in absent.items())
        raise ValueError(
            f'--sides: none of them can take part: {reasons}. `make peers` in a checkout of mmswin '
            'installs timm, transformers and torchvision into .venv/peers; then run with '
            'PYTHONPATH=.venv/peers'
        )
    return absent


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
        cpu.run(
            work,
            sides,
            allocator,
            weights,
            Path(folder),
            settings.rounds,
            settings.repetitions,
            settings.threads,
            progress,
        )
