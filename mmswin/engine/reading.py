"""How a run reads checkpoints: its own checks and mmengine alike, never running code from the file.

mmengine's readers unpickle a file in full on torch < 2.6; those of the fork onedl-mmengine do so on any torch when safe
loading refuses the file. :func:`safely` puts :func:`mmswin.checkpoints.load_file` in their place while a run lasts.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader

from mmswin.checkpoints import load_file
from mmswin.checkpoints.mmengine_loader import facts_of
from mmswin.checkpoints.untrusted import load_trusted
from mmswin.errors import RunError, UnsafeCheckpointError, printable

# What mmengine calls local files and URLs; names like torchvision://resnet50 stay with mmengine.
_SCHEMES = ('', 'http://', 'https://')
_trusted: set[str] = set()


@contextmanager
def safely() -> Iterator[None]:
    """While it lasts, whatever mmengine loads from a file or URL is read by :func:`read`; also a decorator."""
    earlier = CheckpointLoader._schemes  # there is no public way to learn what is registered
    CheckpointLoader._schemes = earlier.copy()
    CheckpointLoader.register_scheme(_SCHEMES, load_from_mmswin, force=True)
    try:
        yield
    finally:
        CheckpointLoader._schemes = earlier
        _trusted.clear()


def load_from_mmswin(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    """The reader given to mmengine, which makes its log line of the function's name."""
    return read(filename, map_location)


def trust(source: str | os.PathLike | None) -> None:
    """Let the run read this checkpoint, or those of this directory, in full, code included (``--trust-checkpoint``).

    Raises:
        RunError: There is no checkpoint to trust.
    """
    if not source:
        raise RunError(
            '--trust-checkpoint is for the checkpoint of --resume or --load-from, and none is given (the '
            'weights that init_cfg names are read without running code in any case)'
        )
    _trusted.add(os.path.abspath(source))


def read(source: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read what a run may see of a checkpoint, see :mod:`mmswin.checkpoints.facts`.

    Raises:
        UnsafeCheckpointError: It needs a type that is not safe, and is not trusted.
        CheckpointError: It cannot be read.
    """
    try:
        return facts_of(load_file(source, map_location), source)
    except UnsafeCheckpointError as error:
        path = os.path.abspath(source)
        if not _trusted & {path, os.path.dirname(path)}:
            raise UnsafeCheckpointError(f'{error}. Or add --trust-checkpoint, which runs what is in it') from error
        print_log(
            f'{printable(source)}: --trust-checkpoint was given, so the checkpoint is read in full and what is in it can '
            f'run code; without it: {error}',
            logger='current',
            level=logging.WARNING,
        )
        return facts_of(load_trusted(source, map_location), source)
