"""Checkpoints that are whole or not there: written beside their name, brought to the disk, then renamed.

mmengine writes under the final name. A process that is killed meanwhile, or a disk that is full, leaves part of a file
that looks like the newest checkpoint. :class:`Runner` writes every checkpoint through :class:`WholeFileBackend`, a
storage backend by mmengine's own means of adding one; :mod:`mmswin.engine.checkpoint_hook` does the rest.
"""

import errno
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend

from mmswin.engine.randomness import describe
from mmswin.engine.sharding import SharingRunner
from mmswin.errors import SavingError
from mmswin.registry import RUNNERS

BACKEND = 'mmswin.whole_file'

# NAME.HOST.PID.mmswin-tmp holds what will become NAME.
_SUFFIX = '.mmswin-tmp'
# A file of a process on another machine cannot be told from a leftover until it has been left alone for so long.
_ABANDONED_AFTER = 3600.0

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_out_of_room(error: OSError) -> bool:
    """Whether the disk, the user's quota or the limit on file sizes is exhausted."""
    return error.errno in _NO_ROOM


def size_text(count: float) -> str:
    """A number of bytes in words, such as ``1.2 GB``."""
    for unit in ('bytes', 'kB', 'MB', 'GB'):
        if count < 1000 or unit == 'GB':
            return f'{count:.0f} {unit}' if unit == 'bytes' else f'{count:.1f} {unit}'
        count /= 1000
    raise AssertionError


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file so that whoever looks finds the old content or the new, whatever ends the process or the machine.

    Raises:
        SavingError: It could not be written; the old content is untouched and nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f'{path.name}.{socket.gethostname()}.{os.getpid()}{_SUFFIX}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open('wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise SavingError(_explain(path, len(content), error)) from error
        raise
    _bring_to_disk(path.parent)


def _bring_to_disk(directory: Path) -> None:
    """Make a renaming last through a loss of power, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _explain(path: Path, needed: int, error: OSError) -> str:
    text = f'{path} could not be saved: {error.strerror or error}'
    if not is_out_of_room(error):
        return text
    text += f'. It needs {size_text(needed)}'
    with suppress(OSError):
        text += f', {size_text(shutil.disk_usage(path.parent).free)} are free there'
        if error.errno != errno.ENOSPC:
            text += ' but may not be used (a quota or a limit on file sizes)'
    return f'{text}: make room'


def remove_leftovers(directory: str | os.PathLike) -> list[str]:
    """Delete what processes that were killed while they wrote have left; returns the names."""
    removed = []
    for path in Path(directory).glob(f'*{_SUFFIX}'):
        host, _, pid = path.name.removesuffix(_SUFFIX).rpartition('.')
        if host.endswith(f'.{socket.gethostname()}') and pid.isdigit():
            abandoned = not _is_running(int(pid))
        else:
            abandoned = time.time() - path.stat().st_mtime > _ABANDONED_AFTER
        if abandoned:
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def what_there_is(work_dir: str | os.PathLike) -> str:
    """Half a sentence for a run that ends early: where it can go on from."""
    pointer = Path(work_dir, 'last_checkpoint')
    if not pointer.is_file():
        return 'no checkpoint has been saved in this run'
    return f'the last whole checkpoint is {pointer.read_text().strip()}: repeat the command with --resume to go on'


@contextmanager
def explained_lack_of_room(work_dir: str | os.PathLike) -> Iterator[None]:
    """Turn the error of a log or a picture for which there is no room into one line.

    Raises:
        SavingError: Instead of that error.
    """
    try:
        yield
    except OSError as error:
        if not is_out_of_room(error):
            raise
        name = f' ({error.filename})' if error.filename else ''
        raise SavingError(
            f'nothing more can be written to {work_dir}{name}: {error.strerror}. Make room. Training '
            f'stops; {what_there_is(work_dir)}'
        ) from error


@register_backend(BACKEND)
class WholeFileBackend(LocalBackend):
    """Local files, written by :func:`write_whole`."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Raises:
            SavingError: See :func:`write_whole`.
        """
        write_whole(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text.

        Raises:
            SavingError: See :func:`write_whole`.
        """
        write_whole(filepath, obj.encode(encoding))


@RUNNERS.register_module()
class Runner(SharingRunner):
    """mmengine's Runner whose checkpoints on local disks are whole, whichever hook saves them."""

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
    ) -> None:
        """Save a checkpoint; arguments as for mmengine's. All processes must call, the first writes.

        Raises:
            SavingError: It could not be written; in the process that writes only.
        """
        meta = dict(meta or {})
        iteration = meta.get('iter', self.iter if by_epoch else self.iter + 1)
        meta['random_state'] = describe(self.seed, iteration)
        if file_client_args is None and '://' not in str(out_dir) and _is_local(backend_args):
            backend_args = {'backend': BACKEND}
        super().save_checkpoint(
            out_dir,
            filename,
            file_client_args,
            save_optimizer=save_optimizer,
            meta=meta,
            by_epoch=by_epoch,
            save_param_scheduler=save_param_scheduler,
            backend_args=backend_args,
        )


def _is_local(backend_args: dict[str, Any] | None) -> bool:
    return (backend_args or {}).get('backend', 'local') == 'local'
