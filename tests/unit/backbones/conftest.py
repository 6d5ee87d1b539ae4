"""A Swin small enough for unit tests, and a process group of one."""

from functools import partial

import models
import pytest
import torch.distributed as dist

TINY = {**models.TINY_SHIFTED, 'drop_path_rate': 0.0}


@pytest.fixture
def tiny_args():
    return dict(TINY)


@pytest.fixture
def tiny_swin():
    """A function that builds the small Swin with seeded, non-trivial weights."""
    return partial(models.swin, **TINY)


@pytest.fixture
def process_group(tmp_path):
    """gloo, one process."""
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    yield
    dist.destroy_process_group()
