"""Reading of checkpoint files without running anything in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch

from mmswin.checkpoints import downloads, safetensors_file, vetting
from mmswin.checkpoints.errors import CheckpointError, UnsafeCheckpointError
from mmswin.checkpoints.pickle_names import UnsafeName, UnusualPickle

_MAX_TEXT = 400


def _local_path(source: str) -> Path:
    """The file behind a path or URL; a URL is downloaded once, into torch's own cache."""
    if urlparse(source).scheme not in ('http', 'https'):
        return Path(source.removeprefix('file://')).expanduser()
    return downloads.fetch(source)


def _read(file: BinaryIO, map_location: Any) -> Any:
    from mmswin.checkpoints import safe_globals

    if safetensors_file.recognised(file.read(16)):
        try:
            return safetensors_file.read(file, map_location)
        except safetensors_file.SafetensorsDamaged as error:
            raise vetting.FileRefused(str(error)) from error
    file.seek(0)
    vetting.vet(file)
    try:
        loaded = safe_globals.load(file, map_location)
    except MemoryError:
        raise
    except Exception as error:  # what the vetting let through; a damaged file can fail in any way
        named = re.search(r'GLOBAL (\S+)', str(error))
        if named:
            raise UnsafeName(named[1]) from error
        detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        size = os.fstat(file.fileno()).st_size
        raise vetting.FileRefused(f'cannot be read by torch ({size} bytes): {detail}') from error
    vetting.check_structure(loaded)
    return loaded


def load_file(source: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint, tensors and harmless types only.

    Nothing in the file is run, on any torch, whatever the file is; it is gone through first and refused where it is
    damaged or declares what it does not have.

    Args:
        source: Local path or http(s) URL. A download is kept in torch's cache (``$TORCH_HOME``).
        map_location: As for ``torch.load``.

    Returns:
        The file's dictionary.

    Raises:
        UnsafeCheckpointError: The file needs a type that is not among the safe ones.
        CheckpointError: The file is missing, damaged, or no checkpoint.
    """
    name = f'checkpoint {os.fspath(source)!r}'
    try:
        with vetting.open_regular(_local_path(os.fspath(source))) as file:
            loaded = _read(file, map_location)
    except UnusualPickle as error:
        raise UnsafeCheckpointError(f'{name} {_printable(error)}') from error
    except UnsafeName as error:
        raise UnsafeCheckpointError(
            f'{name} needs the type {_printable(error)}, which is not among the safe ones, and was not opened: loading '
            'it could run code from the file. Whoever made it can save its weights alone: '
            'torch.save(model.state_dict(), FILE)'
        ) from error
    except vetting.FileRefused as error:
        raise CheckpointError(f'{name} {_printable(error)}') from error
    except MemoryError as error:
        raise CheckpointError(f'{name} does not fit into the memory that is free') from error
    return _mapping(loaded, name)


def load_trusted(source: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint with pickle, which runs whatever the file asks for; only for files whose origin is trusted.

    Raises:
        CheckpointError: The file cannot be read.
    """
    name = f'checkpoint {os.fspath(source)!r}'
    try:
        with vetting.open_regular(_local_path(os.fspath(source))) as file:
            loaded = torch.load(file, map_location=map_location, weights_only=False)
    except vetting.FileRefused as error:
        raise CheckpointError(f'{name} {error}') from error
    except Exception as error:  # a class that is not installed, or anything the file's code may raise
        detail = str(error).splitlines()[0] if str(error) else ''
        raise CheckpointError(f'{name} cannot be read in full either: {type(error).__name__}: {detail}') from error
    return _mapping(loaded, name)


def _printable(error: Exception) -> str:
    """An error's text, of which parts may be the file's: no control characters for the terminal, and not endless."""
    text = ''.join(character if character.isprintable() else '?' for character in str(error))
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + '...'


def _mapping(loaded: Any, name: str) -> dict[str, Any]:
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f'{name} holds a {type(loaded).__name__}, not a dictionary of weights')
    # An OrderedDict carries the versions of its modules as an attribute.
    return loaded if isinstance(loaded, dict) else dict(loaded)
