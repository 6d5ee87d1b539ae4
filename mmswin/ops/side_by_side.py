"""Parts of one task side by side, each computed by a thread of its own.

torch divides every single operation among its threads, which meet again at its end. The operations on a strip are many
and short, and the more threads there are, the more of the time goes into meeting. Here a thread computes a whole strip,
alone; there are as many as ``torch.get_num_threads()`` says.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple, TypeVar

import torch

from mmswin.ops.narrow import autocast_type

# About so many tokens are a part. Fewer, and the matrix products get slow; more, and what is between them leaves the
# cache.
TOKENS = 2400
# With fewer than these for each thread, all of them work together.
LEAST = 500

Part = TypeVar('Part')
Result = TypeVar('Result')


class Cut(NamedTuple):
    """Into how many parts, and how many threads compute parts at the same time (1: all of them the same part)."""

    parts: int
    threads: int


def cut(tokens: int, device: torch.device) -> Cut:
    """How to divide work on so many tokens."""
    threads = _threads() if device.type == 'cpu' else 1
    if threads > 1 and tokens >= LEAST * threads:
        return Cut(threads * max(1, round(tokens / TOKENS / threads)), threads)
    return Cut(max(1, round(tokens / TOKENS)), 1)


def shares(parts: int, count: int) -> list[range]:
    """The numbers of the parts in ``count`` rows of nearly equal length, none of them empty."""
    count = min(parts, count)
    ends = [parts * number // count for number in range(count + 1)]
    return [range(first, last) for first, last in zip(ends, ends[1:])]


def compute(work: Callable[[Part], Result], parts: Sequence[Part], threads: int) -> list[Result]:
    """``[work(part) for part in parts]``, without gradients, ``threads`` parts at a time.

    Autocast and inference mode are the caller's.

    Raises:
        Exception: What ``work`` raised for the first part that failed.
    """
    if threads == 1 or len(parts) == 1:
        return [work(part) for part in parts]
    inference, autocast = torch.is_inference_mode_enabled(), autocast_type('cpu')

    results: list[Result | None] = [None] * len(parts)
    left = deque(range(len(parts)))

    def some() -> None:
        with ExitStack() as modes:  # which every thread has its own of
            modes.enter_context(torch.inference_mode() if inference else torch.no_grad())
            modes.enter_context(torch.autocast('cpu', dtype=autocast, enabled=autocast is not None))
            while left:
                try:
                    number = left.popleft()
                except IndexError:  # another thread was faster
                    return
                results[number] = work(parts[number])

    workers = _workers(threads)
    for task in [workers.submit(some) for _ in range(min(threads, len(parts)))]:
        task.result()
    return results


def _threads() -> int:
    threads = torch.get_num_threads()
    return 1 if threads == 1 or _watched() else threads


def _watched() -> bool:
    """Whether something sees the operations of this thread and of no other: a profiler, a FLOP counter, a mode."""
    return (
        torch.autograd._profiler_enabled()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
    )


class _Workers:
    """The threads. They are made when they are first wanted, and again for another number of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: ThreadPoolExecutor | None = None
        self.count = 0

    def __call__(self, count: int) -> ThreadPoolExecutor:
        with self.lock:
            if self.pool is None or self.count != count:
                self.pool, self.count = _pool(count), count
            return self.pool


def _pool(count: int) -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix='mmswin')
    together = threading.Barrier(count)

    def begin(_: int) -> None:
        torch.get_num_threads()  # or the thread's first operation would set it to what all others have
        torch.set_num_threads(1)  # of this thread, and of all that come after it
        together.wait()  # so that no thread begins twice

    list(pool.map(begin, range(count)))
    torch.set_num_threads(before)
    return pool


_workers = _Workers()
if hasattr(os, 'register_at_fork'):
    # A process that forks from this one has none of its threads.
    os.register_at_fork(after_in_child=_workers.__init__)
