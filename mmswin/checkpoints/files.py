"""Reading of checkpoint files without running anything in them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from mmswin.checkpoints.errors import CheckpointError


def _local_path(source: str) -> Path:
    """The file behind a path or URL; a URL is downloaded once, into torch's own cache."""
    if urlparse(source).scheme not in ('http', 'https'):
        return Path(source.removeprefix('file://')).expanduser()
    from mmengine.dist import barrier, get_dist_info

    cached = Path(torch.hub.get_dir(), 'checkpoints', os.path.basename(urlparse(source).path))
    if get_dist_info()[0] == 0 and not cached.is_file():
        _download(source, cached)
    barrier()
    if not cached.is_file():  # on another machine than the first process's
        _download(source, cached)
    return cached


def _download(url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Written beside its final name and renamed when complete.
        torch.hub.download_url_to_file(url, str(target))
    except OSError as error:
        raise CheckpointError(
            f'{url} could not be downloaded ({error}). Without a network, fetch it elsewhere and put it at {target}, '
            'or name a local file as checkpoint'
        ) from error


def _reason(path: Path, error: Exception) -> str:
    """One line on why torch could not read the file."""
    text = str(error)
    refused = re.search(r'GLOBAL (\S+)', text) or re.search(r'add_safe_globals\(\[(\S+)\]\)', text)
    if refused:
        return (
            f'needs the type {refused[1]}, which is not among the safe ones, and was not opened: loading it could run '
            'code from the file. Save its weights alone, torch.save(model.state_dict(), ...)'
        )
    with path.open('rb') as file:
        head = file.read(512)
    if head.lstrip()[:1] == b'<':
        return 'is a web page, not a checkpoint: the download went to an error page'
    size = path.stat().st_size
    if not size:
        return 'is empty'
    if head[:2] == b'PK':
        return f'is a damaged or truncated checkpoint of {size} bytes: copy or download it again'
    return f'is not a PyTorch checkpoint, or is damaged ({size} bytes): give a file that torch.save wrote'


def load_file(source: str | os.PathLike, map_location: Any = 'cpu') -> dict[str, Any]:
    """Read a checkpoint, tensors and harmless types only.

    Args:
        source: Local path or http(s) URL. A download is kept in torch's cache (``$TORCH_HOME``).
        map_location: As for ``torch.load``.

    Returns:
        The file's dictionary.

    Raises:
        CheckpointError: The file is missing, damaged, no checkpoint, or needs types that are not safe.
    """
    from mmswin.checkpoints import safe_globals

    path = _local_path(os.fspath(source))
    if not path.is_file():
        what = 'is a directory' if path.is_dir() else 'does not exist'
        raise CheckpointError(f'checkpoint {os.fspath(source)!r} {what}; give the path or URL of a .pth file')
    try:
        loaded = safe_globals.load(path, map_location)
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        raise CheckpointError(f'checkpoint {os.fspath(source)!r} {_reason(path, error)}') from error
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise CheckpointError(f'checkpoint {os.fspath(source)!r} holds a {kind}, not a dictionary of weights')
    return dict(loaded)
