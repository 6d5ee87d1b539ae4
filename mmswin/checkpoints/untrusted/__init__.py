"""The one door for files of unknown origin: a file in; tensors and plain values out.

Nothing in a file runs, on any torch; SECURITY.md says what is promised. The pass that checks is the pass that builds:
what was looked at is what is returned, and torch's own readers are not asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from mmswin.checkpoints import downloads
from mmswin.checkpoints.untrusted import safetensors_file, torch_files
from mmswin.checkpoints.untrusted.other_files import FileRefused, UnsafeName, UnusualPickle, open_regular
from mmswin.errors import CheckpointError, UnsafeCheckpointError, printable

__all__ = ['load_file', 'load_trusted', 'notes_of']


def _local_path(source: str) -> Path:
    """The file behind a path or URL; a URL is downloaded once, into torch's own cache."""
    if urlparse(source).scheme not in ('http', 'https'):
        return Path(source.removeprefix('file://')).expanduser()
    return downloads.fetch(source)


def load_file(source: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint, tensors and harmless types only; nothing in the file runs, whatever it is, on any torch.

    Args:
        source: Local path or http(s) URL. A download is kept in torch's cache (``$TORCH_HOME``).
        map_location: A device, as for ``torch.load``; anything else means the CPU.

    Returns:
        The file's dictionary.

    Raises:
        UnsafeCheckpointError: The file needs a type that is not among the safe ones.
        CheckpointError: The file is missing, damaged, or no checkpoint.
    """
    name = _name(source)
    try:
        path = _local_path(os.fspath(source))
        with open_regular(path) as file:
            head = file.read(16)
            file.seek(0)
            if safetensors_file.recognised(head):
                loaded = safetensors_file.read(os.fspath(path), head, map_location)
            else:
                loaded = torch_files.read(file, map_location)
    except UnusualPickle as error:
        raise UnsafeCheckpointError(f'{name} {printable(error)}') from error
    except UnsafeName as error:
        raise UnsafeCheckpointError(
            f'{name} needs the type {printable(error)}, which is not among the safe ones, and was not opened: loading '
            'it could run code from the file. Whoever made it can save its weights alone: '
            'torch.save(model.state_dict(), FILE)'
        ) from error
    except (FileRefused, OSError) as error:
        raise CheckpointError(f'{name} {printable(error)}') from error
    except MemoryError as error:
        raise CheckpointError(f'{name} does not fit into the memory that is free') from error
    return _mapping(loaded, name)


def load_trusted(source: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint with pickle, which runs whatever the file asks for; only for files whose origin is trusted.

    Raises:
        CheckpointError: The file cannot be read.
    """
    name = _name(source)
    try:
        with open_regular(_local_path(os.fspath(source))) as file:
            loaded = torch.load(file, map_location=map_location, weights_only=False)
    except FileRefused as error:
        raise CheckpointError(f'{name} {printable(error)}') from error
    except Exception as error:  # a class that is not installed, or anything the file's code may raise
        detail = printable(str(error).partition('\n')[0])
        raise CheckpointError(f'{name} cannot be read in full either: {type(error).__name__}: {detail}') from error
    return _mapping(loaded, name)


def notes_of(path: str | os.PathLike) -> dict[str, str]:
    """What the writer of a safetensors file noted in it; empty for any other file.

    Raises:
        CheckpointError: The file cannot be read.
    """
    try:
        with open_regular(path) as file:
            return safetensors_file.notes(os.fspath(path), file.read(16))
    except FileRefused as error:
        raise CheckpointError(f'{_name(path)} {printable(error)}') from error


def _name(source: str | os.PathLike) -> str:
    return f"checkpoint '{printable(os.fspath(source), 1000)}'"


def _mapping(loaded: Any, name: str) -> dict[str, Any]:
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f'{name} holds a {type(loaded).__name__}, not a dictionary of weights')
    return loaded if isinstance(loaded, dict) else dict(loaded)
