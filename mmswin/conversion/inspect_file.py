"""What a file is, for tools/inspect_checkpoint.py."""

from __future__ import annotations

import os
from pathlib import Path

from mmswin.atomic import size_text
from mmswin.backbones.swin import VARIANTS
from mmswin.checkpoints import inspection, load_file, safetensors_file
from mmswin.checkpoints.errors import CheckpointError


def inspect_file(file: str | os.PathLike) -> inspection.Rows:
    """Rows of (what, value) that describe a file.

    Raises:
        CheckpointError: The file cannot be read, or holds no Swin.
    """
    checkpoint = load_file(file)
    path = Path(os.fspath(file)).expanduser()
    rows, notes = [('file', str(file))], {}
    if path.is_file():
        kind = inspection.container_format(path)
        rows = [('file', f'{file}, {size_text(path.stat().st_size)}, {kind}')]
        if kind == 'safetensors':
            with path.open('rb') as opened:
                notes = safetensors_file.metadata(opened)
    try:
        return rows + inspection.inspect(checkpoint, VARIANTS, notes)
    except CheckpointError as error:
        raise CheckpointError(f'{file}: {error}') from None
