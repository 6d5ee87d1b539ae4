"""A Swin small enough for unit tests, and a process group of one."""

import pytest
import torch
import torch.distributed as dist

from mmswin.backbones import SwinTransformer

TINY = dict(embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 4), window_size=4, drop_path_rate=0.0)


@pytest.fixture
def tiny_args():
    return dict(TINY)


@pytest.fixture
def tiny_swin():
    """A function that builds the small Swin with seeded, non-trivial weights."""

    def build(**changes):
        torch.manual_seed(0)
        model = SwinTransformer(**{**TINY, **changes})
        model.init_weights()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
        return model

    return build


@pytest.fixture
def process_group(tmp_path):
    """gloo, one process."""
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/rendezvous', rank=0, world_size=1)
    yield
    dist.destroy_process_group()
