"""Makes importable what is installed apart from the environment: mmpretrain, with torchvision beside any torch, and what
models are exported with.

mmpretrain needs torchvision, and mmdet and mmseg import both wherever they find them: next to a torch that is no match
for torchvision's compiled part, ``import mmdet.models`` would fail. So mmpretrain lies in a folder of its own, which a
process looks into when it runs a configuration of mmpretrain's, and in no other. The libraries of export, which no other
command needs, have another one.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
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
    if not _look_into(mmpretrain_folder(), 'mmpretrain'):
        return False
    make_torchvision_importable()
    return True


def export_folder() -> Path:
    """Where ``make peers`` puts the libraries of export: MMSWIN_EXPORT_LIBRARIES, or ``export`` in the environment."""
    return Path(os.environ.get('MMSWIN_EXPORT_LIBRARIES') or Path(sys.prefix, 'export'))


def make_exporters_importable(*libraries: str) -> None:
    """Have this process find onnx, openvino and the like in their folder from now on, if one of ``libraries`` is not elsewhere."""
    for library in libraries:
        _look_into(export_folder(), library)


def _look_into(folder: Path, package: str) -> bool:
    """Add a folder at the end of the path of imports if a package is in it and nowhere else; whether it is anywhere."""
    if find_spec(package) is None:
        if not (folder / package).is_dir():
            return False
        sys.path.append(str(folder))
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

    with suppress(OSError):
        for part in sorted(folder.glob('_C*.so')):
            torch.ops.load_library(part)
        return None
    described = folder / '_meta_registrations.py'
    library = torch.library.Library('torchvision', 'DEF')
    for name in sorted({*_DECLARED.findall(described.read_text())} if described.is_file() else ()):
        library.define(f'{name}(Tensor a) -> Tensor')
    return library
