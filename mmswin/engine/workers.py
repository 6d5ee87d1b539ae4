"""Workers of the training's data loader: signals do not reach them before the run has saved, and a lost one is named.

``timeout``, Slurm, service managers and terminals send a signal to all processes of a group. A worker that dies of it
takes the training process down in the middle of an iteration, before it can save.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from typing import Any

from torch.utils.data import DataLoader

from mmswin.errors import LostProcessError


def shield(dataloader: DataLoader) -> None:
    """Let only the training process end a loader's workers, which must not have been started yet."""
    if dataloader.num_workers > 0 and hasattr(signal, 'sigtimedwait'):  # not on macOS and Windows
        dataloader.worker_init_fn = partial(_init_shielded_worker, dataloader.worker_init_fn)


def _init_shielded_worker(init: Callable[[int], None] | None, worker_id: int) -> None:
    """Start a worker that ignores a terminal's signals, and ends by SIGTERM from its training process only.

    The sender decides: a thread waits for the signal, as a handler is not told who it was. The thread also ends a
    worker whose training process was killed; torch's own way hangs when a large batch is under way.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    if init is not None:
        init(worker_id)


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, 5.0)
        if received is not None and received.si_pid == parent:
            break
    os._exit(0)


def batches(dataloader: DataLoader) -> Iterator[Any]:
    """One pass over a loader, whose workers are started at once.

    Raises:
        LostProcessError: When a batch is asked for and its worker has ended.
    """
    loading = iter(dataloader)
    handled = hasattr(signal, 'SIGCHLD') and threading.current_thread() is threading.main_thread()  # not on Windows
    if dataloader.num_workers > 0 and handled:
        # torch's handler of SIGCHLD raises wherever the training is, in the middle of the optimizer's step too. Its
        # loader also looks by itself, within seconds, while it waits for a batch.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    return _explained(loading)


def _explained(loading: Iterator[Any]) -> Iterator[Any]:
    with explained_loss_of_worker(loading):  # what is raised where the batches go does not come by here
        yield from loading


@contextmanager
def explained_loss_of_worker(loading: Any = None) -> Iterator[None]:
    """Turn torch's error about a loader worker that has ended into one line; the loader's iterator knows how it ended.

    Raises:
        LostProcessError: Instead of that error.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        if not str(error).startswith('DataLoader worker (pid'):  # what a worker raised is told in other words
            # An error of the connection is one of a worker's end if there is such a worker. The connection may break
            # some moments before the system has the process's end to report.
            workers = [] if isinstance(error, RuntimeError) else getattr(loading, '_workers', [])
            ended = wait([worker.sentinel for worker in workers], timeout=5.0) if workers else []
            if not ended:
                raise
            for worker in workers:
                if worker.sentinel in ended:
                    worker.join(timeout=5.0)  # its status comes a moment later
        raise LostProcessError(_describe(loading, error)) from error


def _describe(loading: Any, error: Exception) -> str:
    ended = [(w.pid, w.exitcode) for w in getattr(loading, '_workers', ()) if w.exitcode]  # private; None: it runs
    if not ended:
        return str(error).splitlines()[0].rstrip('. ')
    pid, code = ended[0]
    if code > 0:
        return f'a loader worker (process {pid}) ended with status {code}'
    text = f'a loader worker (process {pid}) was killed by {signal.Signals(-code).name}'
    full = ', as the system does when the memory is full: try a smaller num_workers'
    return text + full if -code == signal.SIGKILL else text
