"""Blocks in chunks of windows: the modules' values, whatever the chunk, the padding and the batch."""

import pytest
import torch
from models import swin

from mmswin.ops.cpu import inference


@pytest.mark.parametrize('tokens', [1, 50, 100_000])
@pytest.mark.parametrize('size', [(1, 9, 13), (3, 8, 8), (2, 3, 2)])
@pytest.mark.parametrize('options', [{}, dict(qkv_bias=False, use_rel_pos_bias=False)], ids=['', 'no biases'])
def test_values_are_the_modules(monkeypatch, tokens, size, options):
    monkeypatch.setattr(inference, 'TOKENS_PER_CHUNK', tokens)
    net = swin(depths=(2, 1, 1, 1), drop_path_rate=0.0, **options).double().eval()
    x = torch.randn(*size, 12, dtype=torch.float64)
    given = x.clone()
    with torch.no_grad():
        for block in net.layers[0].blocks:
            torch.testing.assert_close(inference.run_block(block, x), block(x), rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(
                inference.run_block(block, x.transpose(1, 2)), block(x.transpose(1, 2)), rtol=1e-10, atol=1e-10
            )
    assert torch.equal(x, given)
