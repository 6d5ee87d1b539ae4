"""Swin-MLP: values of the authors' block re-expressed, published sizes, dense use at any size, files."""

import pytest
import torch
import torch.nn.functional as F
from kept_bytes import saved_by

from mmswin.analysis.counting import META, count
from mmswin.backbones import SwinMLP, SwinTransformer
from mmswin.backbones.swin_mlp import VARIANTS
from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.export import export
from mmswin.checkpoints.inspection import inspect

TINY = dict(embed_dims=12, depths=(2, 2, 2, 2), num_heads=(2, 3, 4, 6), window_size=4, drop_path_rate=0.0)


def _net(**changes):
    torch.manual_seed(0)
    net = SwinMLP(**{**TINY, **changes})
    net.init_weights()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net.eval()


def _authors(block, x, side, shifted):
    """The mixing of tokens on a map of whole windows, each head's channels by its own matrix.

    ``x`` is normalised, ``B x H x W x C``. Displaced windows begin ``side - side // 2`` tokens beyond the map.
    """
    before, after = (side - side // 2, side // 2) if shifted else (0, 0)
    padded = F.pad(x, (0, 0, before, after, before, after))
    batch, height, width, channels = padded.shape
    heads, tokens = block.num_heads, side * side
    matrices, biases = block.spatial_mlp.weight.view(heads, tokens, tokens), block.spatial_mlp.bias.view(heads, tokens)
    out = torch.zeros_like(padded)
    for row in range(0, height, side):
        for column in range(0, width, side):
            window = padded[:, row : row + side, column : column + side].reshape(
                batch, tokens, heads, channels // heads
            )
            mixed = torch.einsum('hts,bshc->bthc', matrices, window) + biases.t()[None, :, :, None]
            out[:, row : row + side, column : column + side] = mixed.reshape(batch, side, side, channels)
    return out[:, before : height - after, before : width - after]


@pytest.mark.parametrize(('side', 'windows'), [(32, [4, 4, 8, 4]), (28, [7, 7, 7, 4])])
@torch.no_grad()
def test_values_are_the_authors(side, windows, monkeypatch):
    """All four maps; the last two are no larger than a window, where nothing is displaced."""
    net = _net(window_size=windows, drop_path_rate=0.1).double()
    x = torch.randn(2, 3, 4 * side, 4 * side, dtype=torch.float64)
    found = net(x)
    for stage, layer in enumerate(net.layers):
        for number, block in enumerate(layer.blocks):
            own = side // 2**stage
            cut = block.window[0]
            shifted = bool(number % 2) and own > cut
            monkeypatch.setattr(block, 'mix_tokens', lambda x, b=block, c=cut, s=shifted: _authors(b, x, c, s))
    for mine, expected in zip(found, net(x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ('arch', 'image', 'window', 'params', 'flops'),
    [
        ('c24', 256, 8, 20.39, 4.03),
        ('c12', 256, 8, 21.15, 4.03),
        ('c6', 256, 8, 22.68, 4.03),
        ('base', 224, 7, 60.66, 10.42),
    ],
)
def test_parameters_and_flops_are_the_published_ones(arch, image, window, params, flops):
    """The authors' classifier has one norm and a head where the backbone has a norm for each map."""
    with META:
        net = SwinMLP(arch=arch, window_size=window, out_indices=(3,)).eval()
        _, counted = count(net, torch.empty(1, 3, image, image))
    width = net.num_features[-1]
    assert round((sum(p.numel() for p in net.parameters()) + 1000 * (width + 1)) / 1e6, 2) == params
    assert (counted.layers + 1000 * width) / 1e9 == pytest.approx(flops, rel=0.01)


@pytest.mark.parametrize('size', [(1, 1), (5, 70), (33, 47), (61, 130)])
def test_any_size_gives_ceil_divided_maps(size):
    for i, out in enumerate(_net()(torch.randn(2, 3, *size))):
        assert out.shape == (2, 12 * 2**i, *(-(-side // (4 * 2**i)) for side in size))
        assert out.isfinite().all()


def test_training_keeps_less_and_has_the_same_gradients():
    x, found, kept = torch.randn(2, 3, 61, 75, dtype=torch.float64), [], []
    for with_cp in (False, 'selective'):
        net = _net(with_cp=with_cp).double().train()
        kept.append(saved_by(lambda net=net: net(x), net.parameters()))
        sum(out.square().sum() for out in net(x)).backward()
        found.append([parameter.grad for parameter in net.parameters()])
    for mine, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    print(f'{kept[1] / kept[0]:.3f}')
    assert kept[1] <= 0.6 * kept[0]


def test_gradients_are_those_of_the_parameters_that_a_call_was_given():
    x, found = torch.randn(1, 3, 33, 47, dtype=torch.float64), []
    for with_cp in (False, 'selective'):
        net = _net(with_cp=with_cp).double()
        given = {name: (1.5 * value.detach()).requires_grad_() for name, value in net.named_parameters()}
        out = torch.func.functional_call(net, given, (x,))[-1]
        found.append(torch.autograd.grad(out.square().sum(), list(given.values()), allow_unused=True))
    for mine, expected in zip(*found, strict=True):
        assert (mine is None) == (expected is None)
        if mine is not None:
            torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.'])
def test_files_load_and_are_written(prefix):
    weights = _net().state_dict()
    head = {'norm.weight': torch.ones(96), 'norm.bias': torch.zeros(96), 'head.weight': torch.zeros(5, 96)}
    net = SwinMLP(**TINY)
    net.load_state_dict({prefix + name: value for name, value in {**weights, **head}.items()}, strict=False)
    assert (net.load_report.format, net.load_report.loaded) == ('authors', net.load_report.total)
    for name, value in weights.items():
        assert torch.equal(net.state_dict()[name], value), name
    assert export({**weights, **head}, 'authors').model == 'classifier'
    with pytest.raises(CheckpointError, match='timm has no SwinMLP'):
        export(weights, 'timm')
    rows = dict(inspect(SwinMLP(arch='c6').state_dict(), dict(SwinMLP=VARIANTS)))
    assert "type='mmswin.SwinMLP', arch='c6'" in rows['variant'] and rows['window'].endswith('window_size=8')


def test_other_networks_and_windows_are_refused():
    net = _net()
    with pytest.raises(CheckpointError, match='window_size'):
        _net(window_size=3).load_state_dict(net.state_dict(), strict=False)
    with pytest.raises(CheckpointError, match=r"type='mmswin\.SwinMLP'"):
        SwinTransformer(**{**TINY, 'num_heads': (1, 2, 3, 4)}).load_state_dict(net.state_dict(), strict=False)
    with pytest.raises(ValueError, match='attn_drop_rate'):
        SwinMLP(**TINY, attn_drop_rate=0.1)
    with pytest.raises(ValueError, match='shift_small_maps'):
        SwinMLP(**TINY, shift_small_maps=True)
    SwinMLP(**TINY, shift_small_maps=False)
