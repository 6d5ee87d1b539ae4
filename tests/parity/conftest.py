"""The libraries that checkpoints come from, installed by `make setup` beside the environment and not in it."""

import importlib.util
import os
import re
import sys
from pathlib import Path

import pytest
import torch

# Not among the environment's own packages: mmdet would import transformers with every start.
PEERS = Path(os.environ.get('MMSWIN_PEERS') or Path(sys.prefix, 'peers'))


def _stand_in_for_torchvision_operators() -> torch.library.Library | None:
    """Declare torchvision's operators where its compiled part cannot be loaded; its Swin uses none of them.

    The package index holds torchvision's CUDA build, whose compiled part needs CUDA's libraries.
    """
    folder = Path(importlib.util.find_spec('torchvision').origin).parent
    try:
        for part in sorted(folder.glob('_C*.so')):
            torch.ops.load_library(part)
        return None
    except OSError:
        pass
    library = torch.library.Library('torchvision', 'DEF')
    text = (folder / '_meta_registrations.py').read_text()
    names = set(re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', text))
    assert 'nms' in names
    for name in names:
        library.define(f'{name}(Tensor a) -> Tensor')
    return library


@pytest.fixture(scope='session')
def peers():
    """Make timm, torchvision and transformers importable; a test that asks for them is skipped where they are not."""
    if not (PEERS / 'timm').is_dir():
        pytest.skip(f'timm, torchvision, transformers: NOT CHECKED, they are not in {PEERS} (make setup installs them)')
    sys.path.append(str(PEERS))
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    stand_in = _stand_in_for_torchvision_operators()
    yield PEERS
    sys.path.remove(str(PEERS))
    del stand_in
