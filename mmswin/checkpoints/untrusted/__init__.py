"""The one door for files of unknown origin: a file in; tensors and plain values out.

Nothing in a file runs, on any torch; SECURITY.md says what is promised. The pass that checks is the pass that builds:
what was looked at is what is returned, and torch's own readers are not asked.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlparse
from urllib.request import url2pathname

import torch

from mmswin.checkpoints import downloads
from mmswin.checkpoints.untrusted import safetensors_file, torch_files
from mmswin.checkpoints.untrusted.other_files import FileRefused, FileUnsafe, open_regular
from mmswin.errors import CheckpointError, UnsafeCheckpointError, printable

__all__ = ['load_file', 'local_path', 'read_file']


def local_path(source: str) -> Path:
    """The file behind a path or URL; a URL is downloaded once, into torch's own cache."""
    parts = urlparse(source)
    if parts.scheme in ('http', 'https'):
        return downloads.fetch(source)
    place = parts.path if parts.netloc == 'localhost' else parts.netloc + parts.path  # file://FOLDER/FILE is relative
    path = Path(url2pathname(place) if parts.scheme == 'file' else source)
    with suppress(RuntimeError):  # a file whose name begins with ~
        return path.expanduser()
    return path


class Checkpoint(NamedTuple):
    """A file's dictionary, the format that it was in, and what its writer noted in the header of a safetensors file."""

    content: dict[str, Any]
    kind: str
    notes: dict[str, str]


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
    return read_file(source, map_location).content


def read_file(source: str | os.PathLike, map_location: Any = 'cpu') -> Checkpoint:
    """The same as :func:`load_file` with what the file says of itself."""
    name = f"checkpoint '{printable(os.fspath(source), 1000)}'"
    device = torch.device(map_location if isinstance(map_location, (str, torch.device)) else 'cpu')
    notes: dict[str, str] = {}
    try:
        path = local_path(os.fspath(source))
        with open_regular(path) as file:
            head = file.read(16)
            file.seek(0)
            if safetensors_file.recognised(head):
                kind = 'safetensors'
                loaded, notes = safetensors_file.read(os.fspath(path), head)
                tensors = list(loaded.values())
            else:
                kind = 'PyTorch (zip)' if head[:2] == b'PK' else 'PyTorch (before 1.6)'
                loaded, tensors = torch_files.read(file)
    except FileUnsafe as error:
        raise UnsafeCheckpointError(f'{name} {printable(error)}') from error
    except (FileRefused, OSError, ValueError) as error:
        program = isinstance(error, FileRefused) and os.fspath(source).lower().endswith(('.onnx', '.xml', '.pt2'))
        why = 'is an exported program: give the checkpoint that it was exported from' if program else printable(error)
        raise CheckpointError(f'{name} {why}') from error
    except MemoryError as error:
        raise CheckpointError(f'{name} does not fit into the memory that is free') from error
    try:
        if device.type not in ('cpu', 'meta'):
            torch_files.move(tensors, device)
    except (AssertionError, RuntimeError) as error:  # the device is not there, or has no room
        raise CheckpointError(f'{name} cannot be put on {device}: {printable(error)}') from error
    if not isinstance(loaded, dict):
        raise CheckpointError(f'{name} holds a {type(loaded).__name__}, not a dictionary of weights')
    return Checkpoint(loaded, kind, notes)
