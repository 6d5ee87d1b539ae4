"""torchvision of another build than torch's, made importable for its Swin and for the libraries that import it."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch

# Libraries whose Swins need torchvision to be importable.
IMPORTED_BY = ('transformers', 'timm', 'torchvision')

_DECLARED = re.compile(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"')


def make_importable() -> None:
    """Declare torchvision's operators where its compiled part cannot be loaded.

    A package index has one build of torchvision for a version, often for CUDA; beside a torch without it, importing it
    fails at the first operator that it describes and cannot find, and transformers fails with it. Swins use none of
    these operators. For processes that compare with other libraries: mmswin itself never imports torchvision.
    """
    found = find_spec('torchvision')
    if found is not None and found.origin is not None:
        _operators(Path(found.origin).parent)


@lru_cache(maxsize=1)  # holds the declarations, which end with the library
def _operators(folder: Path) -> torch.library.Library | None:
    try:
        for part in sorted(folder.glob('_C*.so')):
            torch.ops.load_library(part)
        return None
    except OSError:
        pass
    described = folder / '_meta_registrations.py'
    library = torch.library.Library('torchvision', 'DEF')
    for name in sorted({*_DECLARED.findall(described.read_text())} if described.is_file() else ()):
        library.define(f'{name}(Tensor a) -> Tensor')
    return library
