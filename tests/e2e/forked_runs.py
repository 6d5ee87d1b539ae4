"""Training runs as forks of a process that has imported everything once; for programs that compare or kill runs.

A run goes through ``mmswin.engine.launch.train`` as the tool does, notes its losses to the bit, and may be one of
several processes that talk through gloo.
"""

import json
import os
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmswin.engine.launch import train
from mmswin.engine.resuming import has_checkpoints


@HOOKS.register_module()
class NoteLosses(Hook):
    """Appends the loss of each iteration to ``losses_RANK.txt``, to the bit, and may be killed after one.

    Args:
        kill_after: The iteration after which, its checkpoint being saved, the process kills itself with signal 9.
    """

    priority = 'LOWEST'

    def __init__(self, kill_after: int = 0) -> None:
        self.kill_after = kill_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        with open(Path(runner.work_dir, f'losses_{get_rank()}.txt'), 'a') as file:
            file.write(f'\n{runner.iter + 1} {float(outputs["loss"]).hex()} .\n')
        if runner.iter + 1 == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)


def free_port() -> str:
    """A port for processes to meet at."""
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        return str(listening.getsockname()[1])


def start(
    config: str | Path,
    work_dir: Path,
    options: dict,
    kill_after: int = 0,
    rank: int = 0,
    processes: int = 1,
    port: str = '',
) -> int:
    """Start one process of a run, resumed where there is something to resume; returns its process id."""
    resume = 'auto' if has_checkpoints(work_dir) else None
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        os.setsid()
        if processes > 1:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(processes),
                MASTER_PORT=port,
                MASTER_ADDR='127.0.0.1',
            )
        with open(f'{work_dir}_{rank}.log', 'a') as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        hook = {'type': 'NoteLosses', 'kill_after': kill_after}
        train(
            str(config),
            str(work_dir),
            resume=resume,
            seed=0,
            deterministic=True,
            overwrite=True,
            cfg_options={**options, '+custom_hooks': [hook]},
            launcher='pytorch' if processes > 1 else 'none',
        )
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def run(config: str | Path, work_dir: Path, options: dict, kill_after: int = 0, processes: int = 1) -> list[int]:
    """Run all processes of a run to their end; returns their wait statuses."""
    work_dir.mkdir(parents=True, exist_ok=True)
    port = free_port()
    pids = [start(config, work_dir, options, kill_after, rank, processes, port) for rank in range(processes)]
    return [os.waitpid(pid, 0)[1] for pid in pids]


def losses(work_dir: Path, rank: int = 0) -> dict[int, set[str]]:
    """The losses noted for each iteration; more than one if it was done more than once and they differed."""
    found: dict[int, set[str]] = {}
    path = work_dir / f'losses_{rank}.txt'
    for line in path.read_text().splitlines() if path.is_file() else ():
        if line.endswith(' .'):  # a kill may cut the last line
            iteration, loss, _ = line.split()
            found.setdefault(int(iteration), set()).add(loss)
    return found


def expect(fact: bool, message: str) -> None:
    """End the program with a message unless something is as it should be."""
    if not fact:
        sys.exit(message)


def options_of(words: list[str]) -> dict[str, Any]:
    """``KEY=VALUE`` with values in JSON."""
    return {key: json.loads(value) for key, _, value in (word.partition('=') for word in words)}
