"""What a training step keeps for backward, in exact bytes, against mmdet's class with the same structure."""

import pytest
import torch
from kept_bytes import saved_by

from mmswin.backbones import SwinTransformer

SHAPE = dict(embed_dims=48, depths=(2, 2, 2, 2), num_heads=(3, 6, 12, 24), drop_path_rate=0.0)
IMAGE = (1, 3, 112, 224)


def _kept(model, precision):
    torch.nn.Module.train(model)  # mmdet's own returns None
    image = torch.randn(IMAGE, generator=torch.Generator().manual_seed(0))
    with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bfloat16'):
        return saved_by(lambda: model(image), model.parameters())


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_a_training_step_keeps_little_more_than_half(precision):
    mmdet = pytest.importorskip('mmdet.models.backbones.swin')
    ratio = _kept(SwinTransformer(**SHAPE), precision) / _kept(mmdet.SwinTransformer(**SHAPE), precision)
    print(f'{precision}: {ratio:.3f}')
    assert ratio <= 0.55


def test_saved_bytes_are_counted_once_and_without_parameters():
    weight, x = torch.randn(20, 30, requires_grad=True), torch.randn(5, 30)
    assert saved_by(lambda: (x @ weight.T).exp() + (x * 2) @ weight.T, [weight]) == 4 * (5 * 30 + 5 * 20 + 5 * 30)
