"""One side of a CPU benchmark in a process of its own: python -m mmswin.benchmark.side_process ORDER.json RESULT.json.

A process of its own so that no side warms the allocator or the caches of another, and because allocator settings are
read when a process starts.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from mmswin.benchmark import peers
from mmswin.benchmark.memory import saved_in_training
from mmswin.benchmark.work import Repetition, Work, seconds


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Do what an order says.

    Args:
        order: ``side``, ``work`` (as :meth:`Work.as_dict` gives it), ``weights`` (path), ``threads``, ``repetitions``.

    Returns:
        ``seconds`` of each repetition, ``first`` (of the untimed one, compilation included), ``faults`` (minor page
        faults of a repetition), ``peak_bytes`` of the process, ``compilations``, and ``saved_bytes`` that a training
        step of the first size keeps for backward (None where there is none, or in compiled code).
    """
    torch.set_num_threads(order['threads'])
    torch.manual_seed(0)
    work = Work.from_dict(order['work'])
    spec = peers.Spec(work.arch, work.window_size, work.drop_path_rate)
    repetition = Repetition(peers.build(order['side'], spec, torch.load(order['weights']), work.device), work)
    first = seconds(repetition, work.device)
    before = resource.getrusage(resource.RUSAGE_SELF)
    timed = [seconds(repetition, work.device) for _ in range(order['repetitions'])]
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        'seconds': timed,
        'first': first,
        'faults': (after.ru_minflt - before.ru_minflt) / len(timed),
        'peak_bytes': peak_bytes(),
        'compilations': torch._dynamo.utils.counters['stats'].get('unique_graphs', 0),
        'saved_bytes': saved_in_training(repetition),
    }


def peak_bytes() -> int | None:
    """Largest resident memory of this process; None where the system does not say. (getrusage counts the parent's.)"""
    status = Path('/proc/self/status')
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith('VmHWM:')), None)


if __name__ == '__main__':
    Path(sys.argv[2]).write_text(json.dumps(measure(json.loads(Path(sys.argv[1]).read_text()))))
