"""What the pieces of a preset do, by kind; each takes and returns plain values."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from mmswin.benchmark import attention, cpu, peers, suite
from mmswin.benchmark.machine import describe
from mmswin.benchmark.work import Work


def work(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Compare some sides with float64 and time them, see :func:`mmswin.benchmark.suite.run`.

    Args:
        arguments: ``work`` (as :meth:`Work.as_dict` gives it), ``sides``, ``settings`` (of :class:`suite.Settings`).

    Returns:
        ``results``: one for each allocator.
    """
    settings = suite.Settings(**{**arguments['settings'], 'allocators': tuple(arguments['settings']['allocators'])})
    values = suite.run([Work.from_dict(arguments['work'])], arguments['sides'], settings, progress=_say)
    return {'results': values['results']}


def warm(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Have some processes side by side do works once, so that the caches of Triton and Inductor are filled.

    Args:
        arguments: ``orders`` (pairs of side and work), ``processes``, ``threads`` of each.

    Returns:
        ``first`` seconds of each order, or why it failed.
    """
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(arguments['processes']) as pool:
        numbered = enumerate(arguments['orders'])
        first = dict(pool.map(lambda order: _warm(Path(folder), arguments['threads'], *order), numbered))
    return {'first': first}


def _warm(folder: Path, threads: int, number: int, order: tuple[str, dict[str, Any]]) -> tuple[str, Any]:
    side, values = order
    job = Work.from_dict(values)
    place = folder / str(number)
    place.mkdir()
    label = f'{side} on {job.label}'
    try:
        torch.save(peers.source_model(peers.Spec(job.arch, job.window_size, 0.0)).state_dict(), place / 'weights.pth')
        asked = {'side': side, 'work': values, 'weights': str(place / 'weights.pth'), 'threads': threads,
                 'repetitions': 1}  # fmt: skip
        return label, cpu.ask('mmswin.benchmark.side_process', asked, label, place, {})['first']
    except (cpu.SideFailed, OSError) as error:
        return label, str(error)


def machine(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What it runs on (``device``), see :func:`mmswin.benchmark.machine.describe`."""
    return describe(arguments['device'])


KINDS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    'machine': machine,
    'ceilings': attention.ceilings,
    'correctness': attention.correctness,
    'large map': attention.large_map,
    'kernel': attention.kernel,
    'warm': warm,
    'work': work,
}


def do(kind: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do a piece of one of :data:`KINDS`."""
    return KINDS[kind](arguments)


def _say(line: str) -> None:
    print(f'  {line}', flush=True)
