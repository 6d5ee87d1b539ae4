"""Data: checks before a run (json and numpy alone), image loading (needs mmcv), a miniature COCO."""

from importlib.util import find_spec
from typing import Any

# The checks and the miniature must work where mmcv is missing; a config that names the transform cannot.
if find_spec('mmcv') is not None and find_spec('mmengine') is not None:
    from mmswin.data.insta_boost import InstaBoost
    from mmswin.data.loading import BadImageError, LoadImageFromFile

__all__ = ['BadImageError', 'InstaBoost', 'LoadImageFromFile']


def __getattr__(name: str) -> Any:
    if name in __all__:
        raise ImportError(
            f'mmswin.data.{name} needs mmcv and mmengine, which are not installed in this Python: '
            "pip install 'mmswin[openmmlab]' (or 'mmswin[onedl]' for the maintained forks)"
        )
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
