"""mmswin: the Swin Transformer as a plugin for mmdet and mmseg.

Importing this package needs nothing beyond Python; ``mmswin.SwinTransformer`` is imported when it is first asked for.
:func:`tune_cpu` makes networks on CPUs faster.
"""

from typing import Any

from mmswin.allocator import tune_cpu

__version__ = '0.1.0'

__all__ = ['SwinTransformer', '__version__', 'tune_cpu']


def __getattr__(name: str) -> Any:
    if name != 'SwinTransformer':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    try:
        from mmswin.backbones import SwinTransformer
    except ModuleNotFoundError as error:
        if (error.name or '').split('.')[0] == __name__:
            raise
        from mmswin.errors import explain_missing

        raise explain_missing(error, 'mmswin.SwinTransformer') from error
    return SwinTransformer
