"""Makes mmpretrain importable where it is installed apart from the environment, and torchvision beside any torch.

mmpretrain needs torchvision, and mmdet and mmseg import both wherever they find them: next to a torch that is no match
for torchvision's compiled part, ``import mmdet.models`` would fail. So mmpretrain lies in a folder of its own, which a
process looks into when it runs a configuration of mmpretrain's, and in no other.
"""

from __future__ import annotations

import os
import re
import sys
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_DECLARED = re.compile(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"')


def mmpretrain_folder() -> Path:
    """Where ``make pretrain`` puts mmpretrain and what it needs: MMSWIN_PRETRAIN, or ``pretrain`` in the environment."""
    return Path(os.environ.get('MMSWIN_PRETRAIN') or Path(sys.prefix, 'pretrain'))


def make_mmpretrain_importable() -> bool:
    """Have this process find mmpretrain and its torchvision from now on; returns whether mmpretrain is there.

    One among the environment's own packages goes first.
    """
    if find_spec('mmpretrain') is None:
        folder = mmpretrain_folder()
        if not (folder / 'mmpretrain').is_dir():
            return False
        sys.path.append(str(folder))
    make_torchvision_importable()
    return True


def make_torchvision_importable() -> None:
    """Declare torchvision's operators where its compiled part cannot be loaded.

    A package index has one build of torchvision for a version, often for CUDA; next to a torch without it, importing it
    fails at the first operator that it describes and cannot find, and what imports it fails with it. Neither Swins nor
    mmpretrain's classifiers use these operators. mmswin itself never imports torchvision.
    """
    found = find_spec('torchvision')
    if found is not None and found.origin is not None:
        _torchvision_operators(Path(found.origin).parent)


@lru_cache(maxsize=1)  # holds the declarations, which end with the library
def _torchvision_operators(folder: Path) -> Any:
    import torch

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
