"""Masked Swins: which patches the token stands in for, and what becomes of it in checkpoints."""

import pytest
import torch

from mmswin.backbones import MaskedSwinTransformer, MaskedSwinTransformerV2, SwinTransformer, SwinTransformerV2
from mmswin.engine.layer_decay import swin_layer

TINY = dict(embed_dims=12, depths=(1, 2, 1, 1), num_heads=(1, 2, 3, 4), window_size=4, drop_path_rate=0.0)
KINDS = [(MaskedSwinTransformer, SwinTransformer), (MaskedSwinTransformerV2, SwinTransformerV2)]


def _net(kind, **changes):
    torch.manual_seed(0)
    net = kind(**TINY, **changes)
    net.init_weights()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net.eval()


@pytest.mark.parametrize(('kind', 'plain'), KINDS)
def test_the_token_stands_in_for_masked_patches_alone(kind, plain):
    net = _net(kind)
    x = torch.randn(2, 3, 64, 48)
    bare = plain(**TINY).eval()
    bare.load_state_dict(net.state_dict(), strict=False)
    for mine, expected in zip(net(x), bare(x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=0)
    mask = torch.zeros(2, 16, 12, dtype=torch.int64)
    mask[:, :, 6:] = 1
    changed = x.clone()
    changed[..., 24:] += 1  # what is masked is not looked at
    for mine, other, unmasked in zip(net(x, mask), net(changed, mask), net(x), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)
        assert not torch.equal(mine, unmasked)
    net(x, mask)[0].sum().backward()
    assert net.mask_token.grad.abs().sum() > 0
    with pytest.raises(ValueError, match=r'\(2, 12, 16\)'):
        net(x, mask.transpose(1, 2))


@pytest.mark.parametrize(('kind', 'plain'), KINDS)
@pytest.mark.parametrize('prefix', ['', 'encoder.', 'backbone.'])
def test_the_token_survives_a_resume_and_detectors_do_without(kind, plain, prefix):
    net = _net(kind)
    file = {prefix + name: value for name, value in net.state_dict().items()}
    again = kind(**TINY)
    again.load_state_dict(dict(file), strict=False)
    assert torch.equal(again.mask_token, net.mask_token)
    assert (again.load_report.loaded, again.load_report.unused) == (again.load_report.total, [])
    detector = plain(**TINY)
    detector.load_state_dict(file, strict=False)
    assert detector.load_report.loaded == detector.load_report.total
    assert detector.load_report.unused == [prefix + 'mask_token']


def test_frozen_and_decayed_as_the_patches_are():
    net = _net(MaskedSwinTransformer, frozen_stages=0)
    assert not net.mask_token.requires_grad
    assert swin_layer('mask_token', [1, 2, 1, 1]) == 0
