"""Timing on a CPU: every side in processes of its own, in alternate order, under named allocator settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from mmswin.benchmark.results import SideResult
from mmswin.benchmark.timing import interleave
from mmswin.benchmark.work import Work

# glibc's own switches: a process keeps freed memory instead of giving it back to the system, which would have to clear
# it again. 'tuned' is the same for all sides.
ALLOCATORS: dict[str, dict[str, str]] = {
    'default': {},
    'tuned': {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': str(2**40), 'MALLOC_TOP_PAD_': str(64 * 2**20)},
}


class SideFailed(Exception):
    """A side's process ended without a result."""


def run(
    work: Work,
    sides: Sequence[SideResult],
    allocator: str,
    weights: Path,
    folder: Path,
    rounds: int,
    repetitions: int,
    threads: int,
    progress: Callable[[str], None],
) -> None:
    """Time one piece of work by some sides and put the figures into ``sides``.

    Args:
        work: What to do.
        sides: Those that take part.
        allocator: One of :data:`ALLOCATORS`.
        weights: File of the weights, under the authors' names.
        folder: Where orders and results of the processes are written.
        rounds: How often all sides take their turn, each time in a new process.
        repetitions: How often a process repeats the work after the first time; their median is the round's figure.
        threads: torch's threads.
        progress: Told what goes on.

    Raises:
        SideFailed: A side's process died; its last words are in the message.
    """
    order = {'work': work.as_dict(), 'weights': str(weights), 'threads': threads, 'repetitions': repetitions}

    def turn(side: SideResult) -> float:
        label = f'{side.side} on {work.label}'
        asked = order | {'side': side.side}
        measured = ask('mmswin.benchmark.side_process', asked, label, folder, ALLOCATORS[allocator])
        for name in ('first', 'faults', 'peak_bytes', 'compilations', 'saved_bytes'):
            setattr(side, name, measured[name])
        return median(measured['seconds'])

    turns = {side.side: (lambda side=side: turn(side)) for side in sides}
    for name, seconds in interleave(turns, rounds, progress).items():
        next(side for side in sides if side.side == name).seconds = seconds


def ask(module: str, order: dict[str, Any], name: str, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Have a module do an order in a process of its own: ``python -m MODULE ORDER.json RESULT.json``.

    Args:
        module: What to run.
        order: Plain values for it.
        name: What a message calls it.
        folder: Where the two files are.
        environment: Variables besides those that are set.

    Raises:
        SideFailed: It ended without a result; its last line is in the message.
    """
    asked, answered = folder / 'order.json', folder / 'result.json'
    asked.write_text(json.dumps(order))
    answered.unlink(missing_ok=True)
    command = [sys.executable, '-m', module, str(asked), str(answered)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode or not answered.is_file():
        lines = done.stderr.strip().splitlines() or [f'exit status {done.returncode}']
        said = [line for line in lines if line.startswith('error: ')] or lines  # the tools' own, or a traceback's end
        raise SideFailed(f'{name}: {said[-1].removeprefix("error: ")}')
    return json.loads(answered.read_text())
