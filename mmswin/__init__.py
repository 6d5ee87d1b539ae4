"""mmswin: the Swin Transformer as a plugin for mmdet and mmseg.

Importing this package needs nothing beyond Python; ``mmswin.SwinTransformer`` and ``mmswin.load``, which gives a
predictor, are imported when they are first asked for. :func:`tune_cpu` makes networks on CPUs faster.
"""

import importlib
from typing import Any

from mmswin.allocator import tune_cpu

__version__ = '0.1.0'

__all__ = ['SwinTransformer', '__version__', 'load', 'tune_cpu']

_LAZY = {'SwinTransformer': 'mmswin.backbones', 'load': 'mmswin.inference'}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        return getattr(importlib.import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] == __name__:
            raise
        from mmswin.errors import explain_missing

        raise explain_missing(error, f'mmswin.{name}') from error
