"""One training run at a time in a work dir: two would mix their logs and delete each other's checkpoints.

The lock is the kernel's, on a file in the work dir, so it ends with the process, however that ends, and a stale one
cannot stay. It also holds between machines where the file system (NFS from version 4, Lustre, ...) passes locks on.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType

from mmswin.errors import RunError, printable

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

NAME = '.running'


@contextmanager
def only_run_in(work_dir: str | os.PathLike, ignore: bool = False) -> Iterator[None]:
    """Hold the lock of a work dir; the directory is made if it is missing.

    Args:
        work_dir: The directory.
        ignore: Neither take nor heed it (``--ignore-lock``, and all processes of a run but the first).

    Raises:
        RunError: Another run holds it; the message says which and since when.
    """
    path, file = Path(work_dir, NAME), None
    if not ignore:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = _locked(path, os.O_RDWR | os.O_CREAT)
    try:
        if file is not None:
            holder = {'host': socket.gethostname(), 'process': os.getpid(), 'since': time.time()}
            os.ftruncate(file, 0)
            os.write(file, json.dumps(holder).encode())
        yield
    finally:
        if file is not None:
            with suppress(OSError):
                path.unlink()
            os.close(file)


def check(work_dir: str | os.PathLike, ignore: bool = False) -> None:
    """Refuse a work dir in which a run is under way; nothing is written.

    Raises:
        RunError: See :func:`only_run_in`.
    """
    file = None if ignore else _locked(Path(work_dir, NAME), os.O_RDWR)
    if file is not None:
        os.close(file)


def _locked(path: Path, flags: int) -> int | None:
    """The file, open and locked; None where it cannot be opened or the system has no locks."""
    while fcntl is not None:
        try:
            file = os.open(path, flags, 0o644)
        except OSError:
            return None
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:
                return file
        except (BlockingIOError, PermissionError):
            os.close(file)
            raise RunError(_refusal(path)) from None
        except OSError:
            os.close(file)
            return None
        os.close(file)  # its last holder has deleted it since
    return None


def _refusal(path: Path) -> str:
    who = 'another process'
    with suppress(OSError, ValueError, KeyError, TypeError):
        holder = json.loads(path.read_text())
        since = time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(holder['since']))
        who = f'process {int(holder["process"])} on {printable(holder["host"], 80)}, since {since}'
    return (
        f'a run is under way in {path.parent} ({who}): wait for it, stop it (it saves first), or train elsewhere with '
        '--work-dir DIR. If that is not so, go on all the same with --ignore-lock'
    )
