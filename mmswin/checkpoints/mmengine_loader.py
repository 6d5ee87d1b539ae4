"""How mmengine loads checkpoints once mmswin is imported: whichever Runner asks, it gets weights and facts."""

from __future__ import annotations

import os
from typing import Any

from mmswin.checkpoints.facts import facts
from mmswin.checkpoints.untrusted import load_file
from mmswin.errors import CheckpointError

# What mmengine calls local files and URLs; names like torchvision://resnet50 are left to it.
SCHEMES = ('', 'http://', 'https://')


def register() -> None:
    """Give mmengine :func:`load_from_mmswin` for files and URLs, by its own means of adding loaders."""
    from mmengine.runner import CheckpointLoader

    CheckpointLoader.register_scheme(SCHEMES, load_from_mmswin, force=True)


def load_from_mmswin(filename: str, map_location: Any = 'cpu') -> dict[str, Any]:
    """The loader; mmengine makes its log line of the function's name.

    Raises:
        CheckpointError: The file cannot be read, or needs a type that is not safe.
    """
    return facts_of(load_file(filename, map_location), filename)


def facts_of(checkpoint: dict[str, Any], source: str | os.PathLike) -> dict[str, Any]:
    """What a run may see of a file that was read; a best checkpoint is named only in the run's own directory.

    Raises:
        CheckpointError: Names of weights that are no strings.
    """
    try:
        return facts(checkpoint, _work_dir())
    except CheckpointError as error:
        raise CheckpointError(f'checkpoint {os.fspath(source)!r} {error}') from None


def _work_dir() -> str | None:
    """The work dir of the run that loads; its Runner keeps the log two levels below. None where there is no such log."""
    from mmengine.logging import MMLogger

    logs = (getattr(handler, 'baseFilename', None) for handler in MMLogger.get_current_instance().handlers)
    return next((os.path.dirname(os.path.dirname(log)) for log in logs if log), None)
