"""The libraries that checkpoints come from, installed by `make peers` next to the environment and not in it."""

import os
import sys
from pathlib import Path

import pytest
import torch

from mmswin.environment.importable import make_torchvision_importable

# Not among the environment's own packages: mmdet would import transformers with every start.
PEERS = Path(os.environ.get('MMSWIN_PEERS') or Path(sys.prefix, 'peers'))


@pytest.fixture(scope='session')
def peers():
    """Make timm, torchvision and transformers importable; a test that asks for them is skipped where they are not."""
    if not (PEERS / 'timm').is_dir():
        pytest.skip(f'timm, torchvision, transformers: NOT CHECKED, they are not in {PEERS} (make peers installs them)')
    sys.path.append(str(PEERS))
    os.environ.setdefault('HF_HUB_OFFLINE', '1')
    make_torchvision_importable()
    assert hasattr(torch.ops.torchvision, 'nms')
    yield PEERS
    sys.path.remove(str(PEERS))
