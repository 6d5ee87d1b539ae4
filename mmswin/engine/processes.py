"""What several processes of a run owe each other: they decide together, none waits for one that is gone, and none
outlives the launcher.
"""

import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.logging import print_log
from torch import distributed as dist

from mmswin.errors import LostProcessError

# Decisions go through gloo on the CPU: a flag in an NCCL operation would have to wait for the GPU's queue.
_groups: dict[int, Any] = {}

# How often a process looks whether its launcher is still there, and how long it may take to save and end if not.
_LOOK_EVERY = 2.0
_GRACE = 60.0

# What launchers call a process's number among all of a run.
_RANKS = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}

# gloo's and NCCL's words for a connection whose other end is gone.
_GONE = re.compile(
    r'connection (closed|reset|refused)|remote process exited|broken pipe|peer closed|heartbeat', re.IGNORECASE
)


def is_first_process(launcher: str) -> bool:
    """Whether this process is the first of its run, before mmengine has joined what the launcher started."""
    return os.environ.get(_RANKS.get(launcher, ''), '0') == '0'


def cpu_group() -> Any:
    """The gloo group of all processes, made on the first call, which all of them must make. None: one process."""
    if get_world_size() == 1:
        return None
    world = dist.group.WORLD
    if id(world) not in _groups:
        _groups[id(world)] = world if dist.get_backend() == 'gloo' else dist.new_group(backend='gloo')
    return _groups[id(world)]


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is true in any process; all must call."""
    votes = torch.tensor(int(flag), dtype=torch.int32)
    all_reduce(votes, 'max', cpu_group())
    return bool(votes)


def gather(value: Any) -> list[Any]:
    """The ``value`` of every process, in the order of their ranks; all must call, and none returns before all have."""
    return all_gather_object(value, cpu_group())


def follow_launcher() -> None:
    """End this process when the launcher that started it is gone.

    torchrun ends its processes when it is told to stop, but when it is killed itself they go on, unseen, on GPUs that
    nobody knows to be taken. From now on a thread watches, and asks this process to stop as ``kill`` would: with
    :class:`mmswin.engine.StopOnSignalHook` it saves first. Does nothing where no torchrun is the parent.
    """
    if 'TORCHELASTIC_RUN_ID' in os.environ:
        threading.Thread(target=_end_without, args=(os.getppid(),), daemon=True).start()


def _end_without(launcher: int) -> None:
    while os.getppid() == launcher:
        time.sleep(_LOOK_EVERY)
    # In a thread of its own: where the output went with the launcher, or a lock is held, it must not keep this process.
    message = f'The launcher (process {launcher}) is gone, so this process stops.'
    options = dict(logger='current', level=logging.WARNING)
    speaker = threading.Thread(target=print_log, args=(message,), kwargs=options, daemon=True)
    speaker.start()
    speaker.join(_GRACE)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def explained_loss_of_process() -> Iterator[None]:
    """Turn the error that a collective operation ends with when another process is gone into one line.

    Raises:
        LostProcessError: Instead of that error.
    """
    try:
        yield
    except RuntimeError as error:
        if get_world_size() == 1 or not _GONE.search(str(error)):
            raise
        raise LostProcessError(
            f'process {get_rank()} of {get_world_size()} stops because another one is gone (killed, out of '
            'memory, or ended by an error: look for its message above, and for the signal or exit status that the '
            'launcher reports below). To go on from the last complete checkpoint, repeat the command with --resume'
        ) from error
