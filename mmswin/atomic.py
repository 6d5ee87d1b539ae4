"""Files that are complete or not there: written next to their name, synced to the disk, then renamed."""

import errno
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mmswin.errors import SavingError

# NAME.HOST.PID.mmswin-tmp holds what will become NAME, which is cut where that is longer than file systems take (bytes).
_SUFFIX, _LONGEST_NAME = '.mmswin-tmp', 255
# A file of a process on another machine cannot be told from a leftover until it has been left alone for so long (s).
_ABANDONED_AFTER = 3600.0

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | os.PathLike, size: int | None = None) -> Iterator[BinaryIO]:
    """A file open for writing that takes the place of ``path`` when the context ends without an error.

    Whoever looks finds the old content or the new, whatever ends the process or the machine. Directories are made.

    Args:
        path: The name that the file gets.
        size: How many bytes it will have, for the message where there is no room.

    Raises:
        SavingError: It cannot be written; the old content is untouched and nothing is left behind.
    """
    path = Path(path)
    mark = f'.{socket.gethostname()}.{os.getpid()}{_SUFFIX}'
    name = os.fsencode(path.name)[: _LONGEST_NAME - len(mark)].decode(errors='ignore')
    temporary = path.with_name(name + mark)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open('wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise SavingError(_explain(path, size, error)) from error
        raise
    with suppress(OSError):  # the renaming lasts through a loss of power, where the file system can do that
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write(path: str | os.PathLike, content: bytes | str) -> None:
    """Write a file at once, as :func:`replacing` does; text becomes UTF-8.

    Raises:
        SavingError: See :func:`replacing`.
    """
    content = content.encode() if isinstance(content, str) else content
    with replacing(path, len(content)) as file:
        file.write(content)


def remove_leftovers(directory: str | os.PathLike) -> list[str]:
    """Delete what processes that were killed while they wrote have left; returns the names."""
    removed = []
    for path in Path(directory).glob(f'*{_SUFFIX}'):
        host, _, pid = path.name.removesuffix(_SUFFIX).rpartition('.')
        if host.endswith(f'.{socket.gethostname()}') and pid.isdigit() and os.name != 'nt':  # asking would end it there
            abandoned = not is_running(int(pid))
        else:
            abandoned = False
            with suppress(FileNotFoundError):  # it got its name meanwhile
                abandoned = time.time() - path.stat().st_mtime > _ABANDONED_AFTER
        if abandoned:
            path.unlink(missing_ok=True)
            removed.append(path.name)
    return removed


def is_running(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True


def is_out_of_room(error: OSError) -> bool:
    """Whether the disk, the user's quota or the limit on file sizes is exhausted."""
    return error.errno in _NO_ROOM


def size_text(count: float) -> str:
    """A number of bytes in words, such as ``1.2 GB``."""
    for unit in ('bytes', 'kB', 'MB'):
        if count < 1000:
            return f'{count:.0f} {unit}' if unit == 'bytes' else f'{count:.1f} {unit}'
        count /= 1000
    return f'{count:.1f} GB'


def _explain(path: Path, size: int | None, error: OSError) -> str:
    text = f'{path} could not be saved: {error.strerror or error}'
    if not is_out_of_room(error):
        return text
    if size is not None:
        text += f'. It needs {size_text(size)}'
    with suppress(OSError):
        text += f', {size_text(shutil.disk_usage(path.parent).free)} are free there'
        if error.errno != errno.ENOSPC:
            text += ' but may not be used (a quota or a limit on file sizes)'
    return f'{text}: make room'
