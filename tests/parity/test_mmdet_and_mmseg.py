"""Values and gradients equal to the installed mmdet and mmseg classes, with the same weights.

float32: values within 1e-5 of each map's largest value, gradients within 1e-4 of each parameter's largest; float64:
within 1e-10. Weights are seeded and far from their initial values, so that no term is hidden behind a zero.
"""

import importlib

import pytest
import torch

from mmswin.backbones import SwinTransformer
from mmswin.backbones.swin import VARIANTS
from mmswin.checkpoints.convert import to_format
from mmswin.checkpoints.formats import OPENMMLAB

SHALLOW = dict(depths=(2, 2, 2, 2))
PEERS = ('mmdet.models.backbones.swin', 'mmseg.models.backbones.swin')


def _pair(peer, dtype=torch.float32, arch='tiny', **arguments):
    """mmswin's and the peer's network with the same random weights, in eval mode."""
    variant = {**VARIANTS[arch], **SHALLOW, **arguments, 'drop_path_rate': 0.0}
    torch.manual_seed(3)
    theirs = importlib.import_module(peer).SwinTransformer(**variant).to(dtype)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            scale = 0.5 if 'bias_table' in name else 0.1 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn_like(parameter) * scale + ('norm' in name and name.endswith('weight')))
    ours = SwinTransformer(**variant).to(dtype)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert ours.load_report.loaded == ours.load_report.total
    ours.eval()
    theirs.eval()
    return ours, theirs


def _compare(ours, theirs, batch, size, values, gradients=None):
    """Assert equality; returns the largest relative differences."""
    torch.manual_seed(4)
    x = torch.randn(batch, 3, *size, dtype=next(ours.parameters()).dtype)
    with torch.set_grad_enabled(gradients is not None):
        mine, reference = ours(x), theirs(x)
    worst = [0.0, 0.0]
    for a, b in zip(mine, reference, strict=True):
        assert a.shape == b.shape
        worst[0] = max(worst[0], ((a - b).abs().max() / b.abs().max()).item())
    assert worst[0] <= values
    if gradients is not None:
        weights = [torch.randn_like(out) for out in reference]
        for outs in (mine, reference):
            sum((out * weight).sum() for out, weight in zip(outs, weights)).backward()
        found = to_format({name: p.grad for name, p in ours.named_parameters()}, OPENMMLAB)
        expected = {name: p.grad for name, p in theirs.named_parameters()}
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            worst[1] = max(worst[1], ((found[name] - gradient).abs().max() / gradient.abs().max()).item())
        assert worst[1] <= gradients
    print(f'largest relative difference: values {worst[0]:.1e}, gradients {worst[1]:.1e}')


@pytest.mark.parametrize('peer', PEERS)
@pytest.mark.parametrize(('arch', 'window_size'), [('tiny', 7), ('small', 12), ('base', 12), ('large', 7)])
def test_variants_and_windows(peer, arch, window_size):
    depths = (2, 2, 2, 2) if arch in ('tiny', 'small') else (2, 2, 1, 1)
    _compare(*_pair(peer, arch=arch, depths=depths, window_size=window_size), 2, (33, 47), 1e-5, 1e-4)


@pytest.mark.parametrize('peer', PEERS)
@pytest.mark.parametrize('window_size', [7, 12])
@pytest.mark.parametrize(('batch', 'size'), [(1, (224, 224)), (2, (199, 317)), (1, (5, 9)), (2, (5, 9)), (2, (1, 1))])
def test_sizes(peer, window_size, batch, size):
    ours, theirs = _pair(peer, embed_dims=24, num_heads=(1, 2, 4, 8), window_size=window_size)
    _compare(ours, theirs, batch, size, 1e-5, 1e-4)


@pytest.mark.parametrize('peer', PEERS)
@pytest.mark.parametrize('size', [(33, 47), (5, 9), (113, 225)])
def test_float64(peer, size):
    ours, theirs = _pair(peer, torch.float64, embed_dims=24, num_heads=(1, 2, 4, 8))
    _compare(ours, theirs, 2, size, 1e-10, 1e-10)


@pytest.mark.parametrize('peer', PEERS)
def test_absolute_position_embedding(peer):
    arguments = dict(embed_dims=24, num_heads=(1, 2, 4, 8), use_abs_pos_embed=True, pretrain_img_size=64)
    _compare(*_pair(peer, **arguments), 2, (64, 64), 1e-5, 1e-4)


@pytest.mark.parametrize('peer', PEERS)
@pytest.mark.parametrize(
    'arguments',
    [
        dict(qkv_bias=False),
        dict(qk_scale=0.3),
        dict(patch_norm=False),
        dict(mlp_ratio=2),
        dict(strides=(4, 2, 2, 1)),
        dict(out_indices=(1, 3)),
        dict(act_cfg=dict(type='ReLU')),
        dict(norm_cfg=dict(type='LN', eps=1e-3)),
        dict(in_channels=3, patch_size=2, strides=(2, 2, 2, 2)),
    ],
)
def test_arguments(peer, arguments):
    ours, theirs = _pair(peer, embed_dims=24, num_heads=(1, 2, 4, 8), **arguments)
    _compare(ours, theirs, 1, (45, 71), 1e-5, 1e-4)


@pytest.mark.parametrize('peer', PEERS)
def test_training_mode_matches_without_randomness(peer):
    ours, theirs = _pair(peer, embed_dims=24, num_heads=(1, 2, 4, 8), with_cp=True)
    ours.train()
    theirs.train()
    _compare(ours, theirs, 2, (45, 71), 1e-5, 1e-4)


@pytest.mark.slow
def test_whole_swin_t_at_detection_size():
    _compare(*_pair(PEERS[0], depths=(2, 2, 6, 2)), 1, (800, 1333), 1e-5, 1e-4)
