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
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from typing import NamedTuple, TypeVar

import torch
from torch.utils._device import DeviceContext

from mmswin.ops.low_precision import autocast_type

# About so many tokens are a part. Fewer, and the matrix products get slow; more, and what is between them leaves the
# cache.
TOKENS = 2400

Part = TypeVar('Part')
Result = TypeVar('Result')


class Cut(NamedTuple):
    """Into how many parts, and how many threads compute parts at the same time (1: all of them the same part)."""

    parts: int
    threads: int


def cut(tokens: int, device: torch.device) -> Cut:
    """How to divide work on so many tokens. Where there is no whole part for every thread, all work together."""
    threads = _threads() if device.type == 'cpu' else 1
    if threads > 1 and tokens >= TOKENS * threads:
        return Cut(threads * max(1, round(tokens / TOKENS / threads)), threads)
    return Cut(max(1, round(tokens / TOKENS)), 1)


def shares(parts: int, count: int) -> list[range]:
    """The numbers of the parts in at most ``count`` rows of nearly equal length, none of them empty."""
    count = min(parts, count)
    ends = [parts * number // count for number in range(count + 1)] if count else []
    return [range(first, last) for first, last in zip(ends, ends[1:])]


def compute(work: Callable[[Part], Result], parts: Sequence[Part], threads: int) -> list[Result]:
    """``[work(part) for part in parts]``, ``threads`` parts at a time. Only for work that records no gradients.

    Autocast of the CPU and inference mode are the caller's.

    Raises:
        Exception: What ``work`` raised, for the first part if for several. No part is begun after it, and none goes on.
    """
    if threads == 1 or len(parts) <= 1:
        return [work(part) for part in parts]
    inference, autocast = torch.is_inference_mode_enabled(), autocast_type('cpu')
    results: list[Result | None] = [None] * len(parts)
    failures: dict[int, BaseException] = {}
    left = deque(range(len(parts)))

    def some() -> None:
        with ExitStack() as modes:  # which every thread has its own of
            modes.enter_context(torch.inference_mode() if inference else torch.no_grad())
            if autocast is not None:
                modes.enter_context(torch.autocast('cpu', dtype=autocast))
            while left:
                try:
                    number = left.popleft()
                except IndexError:  # another thread was faster
                    return
                try:
                    results[number] = work(parts[number])
                except BaseException as error:
                    failures[number] = error
                    left.clear()

    tasks = []
    try:
        workers = _workers(threads)
        for _ in range(min(threads, len(parts))):
            tasks.append(workers.submit(some))
    except RuntimeError:  # no thread is to be had: the interpreter is about to end, or the system has no more
        some()
    try:
        wait(tasks)
    except BaseException:  # Ctrl-C
        left.clear()
        wait(tasks)
        raise
    if failures:
        raise failures[min(failures)]
    for task in tasks:
        task.result()  # raises what kept a thread from beginning
    return results


def _threads() -> int:
    threads = torch.get_num_threads()
    if threads == 1 or watched():
        return 1
    # Where OpenMP has bound this thread to its core, threads that it starts would all be bound to that core.
    here = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else threads
    return threads if here >= threads else 1


def watched() -> bool:
    """Whether something sees, or changes, the operations of this thread and of no other.

    A profiler, a FLOP counter, another mode or a transform of torch.func; not ``torch.set_default_device``.
    """
    modes = torch.overrides._get_current_function_mode_stack()
    return (
        torch.autograd._profiler_enabled()
        or torch._C._len_torch_dispatch_stack() > 0
        or any(not isinstance(mode, DeviceContext) for mode in modes)
        or torch._C._functorch.peek_interpreter_stack() is not None
    )


class _Workers:
    """The threads, in a pool for each number of them that was ever wanted; made when they are."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Forget all: a process that forks from this one has none of its threads."""
        self.lock = threading.Lock()
        self.pools: dict[int, ThreadPoolExecutor] = {}

    def __call__(self, count: int) -> ThreadPoolExecutor:
        with self.lock:
            if count not in self.pools:
                self.pools[count] = _pool(count)
            return self.pools[count]


def _pool(count: int) -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(count, thread_name_prefix='mmswin')
    together = threading.Barrier(count)

    def begin() -> None:
        try:
            torch.get_num_threads()  # or the thread's first operation would set it to what all others have
            torch.set_num_threads(1)  # of this thread, and of all that come after it
        except BaseException:
            together.abort()
            raise
        together.wait()  # so that no thread begins twice

    try:
        for task in [pool.submit(begin) for _ in range(count)]:
            task.result()
    except BaseException:
        together.abort()
        pool.shutdown(wait=False)
        raise
    finally:
        torch.set_num_threads(before)
    return pool


_workers = _Workers()
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_workers.renew)
