"""What a file is, for mmswin inspect."""

from __future__ import annotations

import os
from pathlib import Path

from mmswin.atomic import size_text
from mmswin.checkpoints import inspection, load_file
from mmswin.checkpoints.untrusted import notes_of
from mmswin.errors import CheckpointError


def inspect_file(file: str | os.PathLike, variants: inspection.Variants) -> inspection.Rows:
    """Rows of (what, value) that describe a file.

    Args:
        file: File or URL.
        variants: Structures by name, by the class of the backbone.

    Raises:
        CheckpointError: The file cannot be read, or holds no Swin.
    """
    checkpoint = load_file(file)
    path = Path(os.fspath(file)).expanduser()
    rows, notes = [('file', str(file))], {}
    if path.is_file():
        kind = inspection.container_format(path)
        rows = [('file', f'{file}, {size_text(path.stat().st_size)}, {kind}')]
        notes = notes_of(path)
    try:
        return rows + inspection.inspect(checkpoint, variants, notes)
    except CheckpointError as error:
        raise CheckpointError(f'{file}: {error}') from None
