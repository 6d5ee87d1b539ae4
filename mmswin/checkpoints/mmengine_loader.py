"""How mmengine loads checkpoints once mmswin is imported: whichever Runner asks, it gets weights and facts.

mmengine's own readers unpickle a file in full on torch < 2.6; those of the fork onedl-mmengine do so on any torch when
safe loading refuses the file.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from mmswin.checkpoints.facts import facts
from mmswin.checkpoints.report import log
from mmswin.checkpoints.untrusted import load_file, local_path
from mmswin.errors import CheckpointError, RunError, UnsafeCheckpointError, printable

# For each run that is under way, the files and directories that it trusts.
_trusted: list[set[str]] = []


def register() -> None:
    """Give mmengine :func:`load_from_mmswin` for files and URLs, by its own means of adding loaders."""
    from mmengine.runner import CheckpointLoader

    # Local files and URLs; names like torchvision://resnet50 are left to it.
    CheckpointLoader.register_scheme(('', 'http://', 'https://'), load_from_mmswin, force=True)


def load_from_mmswin(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    """What a run may see of a checkpoint, see :mod:`mmswin.checkpoints.facts`; mmengine logs the function's name.

    Raises:
        UnsafeCheckpointError: It needs a type that is not safe, and is not trusted.
        CheckpointError: It cannot be read.
    """
    try:
        checkpoint = load_file(filename, map_location)
    except UnsafeCheckpointError as error:
        path = os.path.abspath(filename)
        if not _trusted:
            raise
        if not _trusted[-1] & {path, os.path.dirname(path)}:
            raise UnsafeCheckpointError(f'{error}. Or add --trust-checkpoint, which runs what is in it') from error
        log(
            f'{filename}: --trust-checkpoint was given, so the checkpoint is read in full and what is in it '
            f'can run code; without it: {error}',
            logging.WARNING,
        )
        checkpoint = _load_in_full(filename, map_location)
    try:
        known = facts(checkpoint, _work_dir())
    except CheckpointError as error:
        raise CheckpointError(f'checkpoint {os.fspath(filename)!r} {error}') from None
    # Under this name alone mmengine's Runner looks for the weights of a whole model.
    return {'state_dict': known['model'], **known} if isinstance(known.get('model'), Mapping) else known


def _load_in_full(filename: str, map_location: Any) -> dict[str, Any]:
    """Read a checkpoint with pickle, which runs whatever the file asks for."""
    try:
        loaded = torch.load(local_path(filename), map_location=map_location, weights_only=False)
    except Exception as error:  # a class that is not installed, or anything the file's code may raise
        detail = f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'
        raise CheckpointError(f'checkpoint {filename!r} cannot be read in full either: {printable(detail)}') from error
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f'checkpoint {filename!r} holds a {type(loaded).__name__}, not a dictionary of weights')
    return dict(loaded)


@contextmanager
def trusting() -> Iterator[None]:
    """For as long as a run lasts, :func:`trust` may be given files, and refusals name it; also a decorator."""
    _trusted.append(set())
    try:
        yield
    finally:
        _trusted.pop()


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
    _trusted[-1].add(os.path.abspath(source))


def _work_dir() -> str | None:
    """The work dir of the run that loads; its Runner keeps the log two levels below. None where there is no such log."""
    from mmengine.logging import MMLogger

    logs = (getattr(handler, 'baseFilename', None) for handler in MMLogger.get_current_instance().handlers)
    return next((os.path.dirname(os.path.dirname(log)) for log in logs if log), None)
