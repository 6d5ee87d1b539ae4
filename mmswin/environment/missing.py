"""The sentence a user reads when a library that mmswin needs is not installed."""

from __future__ import annotations


def explain_missing(error: ModuleNotFoundError, needed_by: str) -> ImportError:
    """An ImportError that says which library is missing, what needs it and how to get it.

    Args:
        error: what the failed import raised; its ``name`` is the missing module.
        needed_by: the part of mmswin that was being imported, e.g. ``'mmswin.backbones'``.

    Use as ``raise explain_missing(error, 'mmswin.registry') from error``.
    """
    missing = (error.name or str(error)).split('.')[0]
    return ImportError(
        f'{needed_by} needs {missing}, which is not installed here. mmswin does not install it by itself, so as not '
        "to replace a stack of yours. Install OpenMMLab's releases with pip install 'mmswin[openmmlab]', or the "
        "maintained forks with pip install 'mmswin[onedl]', or run `make setup` in a checkout; "
        '`python tools/doctor.py` shows what is there.',
        name=error.name,
    )
