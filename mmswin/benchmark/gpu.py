"""Timing on a GPU: all sides in one process, in alternate order; wall time, kernels' time, launches, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmswin.benchmark import peers
from mmswin.benchmark.memory import saved_in_training
from mmswin.benchmark.results import SideResult
from mmswin.benchmark.timing import interleave
from mmswin.benchmark.work import Repetition, Work, seconds, synchronize

WARM_UP = 3


def run(
    work: Work,
    sides: Sequence[SideResult],
    tensors: Mapping[str, Tensor],
    rounds: int,
    repetitions: int,
    progress: Callable[[str], None],
) -> None:
    """Time one piece of work by some sides and put the figures into ``sides``.

    Args:
        work: What to do.
        sides: Those that take part.
        tensors: Weights, under the authors' names.
        rounds: How often all sides take their turn.
        repetitions: How often the work is repeated in a turn; their median is the round's figure.
        progress: Told what goes on.
    """
    spec = peers.Spec(work.arch, work.window_size, work.drop_path_rate)
    ready: dict[str, Repetition] = {}
    for side in sides:
        progress(f'{side.side}: first repetition')
        torch.manual_seed(0)
        graphs = _graphs()
        repetition = ready[side.side] = Repetition(peers.build(side.side, spec, tensors, work.device), work)
        side.first = seconds(repetition, work.device)
        for _ in range(WARM_UP):
            repetition()
        side.compilations = _graphs() - graphs
        side.saved_bytes = saved_in_training(repetition)
        side.peak_bytes = _peak(repetition)
        side.gpu_seconds, side.launches = kernel_time(repetition)
    turns = {
        name: lambda repetition=repetition: median(seconds(repetition, work.device) for _ in range(repetitions))
        for name, repetition in ready.items()
    }
    measured = interleave(turns, rounds, progress)
    for side in sides:
        side.seconds = measured[side.side]


def _graphs() -> int:
    return torch._dynamo.utils.counters['stats'].get('unique_graphs', 0)


def _peak(repetition: Repetition) -> int:
    """Bytes that a repetition needs beyond what is there before it."""
    device = repetition.work.device
    repetition.model.zero_grad(set_to_none=True)
    synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    repetition()
    synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def kernel_time(repetition: Repetition) -> tuple[float, int]:
    """Summed time of a repetition's kernels in seconds, and their number."""
    device = repetition.work.device
    synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        repetition()
        synchronize(device)
    kernels = [event for event in profiler.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return sum(event.time_range.elapsed_us() for event in kernels) / 1e6, len(kernels)
