"""Decisions that all processes of a run take together.

They go through gloo on the CPU: a flag in an NCCL operation would have to wait for the GPU's queue.
"""

from typing import Any

import torch
from torch import distributed as dist

_groups: dict[int, Any] = {}


def several() -> bool:
    """Whether the run has several processes."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def cpu_group() -> Any:
    """The gloo group of all processes, made on the first call, which all of them must make. None: one process."""
    if not several():
        return None
    world = dist.group.WORLD
    if id(world) not in _groups:
        _groups[id(world)] = world if dist.get_backend() == 'gloo' else dist.new_group(backend='gloo')
    return _groups[id(world)]


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true in any process; all must call."""
    group = cpu_group()
    if group is None:
        return flag
    votes = torch.tensor(int(flag), dtype=torch.int32)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX, group=group)
    return bool(votes.item())


def gather(value: Any) -> list[Any]:
    """The ``value`` of every process, in the order of their ranks; all must call."""
    group = cpu_group()
    if group is None:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value, group=group)
    return values


def wait_for_all() -> None:
    """Return when all processes have called."""
    group = cpu_group()
    if group is not None:
        dist.barrier(group=group)
