"""The directory of a miniature data set: made by us, whole, and never somebody else's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

MARKER = 'miniature.json'


class MiniatureError(ValueError):
    """The settings make no data set, or the directory is not one that may be written to."""


def claim(root: str | Path, kind: str, parts: Sequence[str], force: bool) -> Path:
    """Make a directory for a miniature data set, empty of an earlier one.

    Args:
        root: The directory.
        kind: Name of the data set. One whose marker has no ``kind`` is a miniature COCO.
        parts: What the data set consists of; files and directories of other names are kept.
        force: Remove these parts of a miniature data set of this kind that is there.

    Raises:
        MiniatureError: ``root`` is a file, holds something that was not made here or a miniature of another kind, or
            holds one of this kind and ``force`` is not given.
    """
    root = Path(root)
    if root.exists() and not root.is_dir():
        raise MiniatureError(f'{root} is a file; give a directory for the data set')
    if root.is_dir() and any(root.iterdir()):
        if not (root / MARKER).is_file():
            raise MiniatureError(
                f'{root} is not empty and was not made by this generator (no {MARKER} in it); nothing was written. '
                'Give another directory, or move its content away'
            )
        found = _kind(root / MARKER)
        if found != kind:
            raise MiniatureError(f'{root} holds a miniature {found}, not a miniature {kind}; give another directory')
        if not force:
            raise MiniatureError(
                f'{root} holds a miniature {kind} already; give --force to replace it, or another directory'
            )
        for name in parts:
            shutil.rmtree(root / name, ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _kind(marker: Path) -> str:
    try:
        return json.loads(marker.read_text()).get('kind', 'COCO')
    except (ValueError, AttributeError):
        return 'data set of which the marker is damaged'
