"""Backward as callers have it: with a graph of its own, under autocast, recomputed, after changes in place."""

import math

import pytest
import torch

from mmswin import SwinTransformer

BACKENDS = ['auto', 'triton']


def _net(backend, dtype=torch.float64, **options):
    torch.manual_seed(0)
    options = dict(embed_dims=32, depths=(1, 1), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1),
                   window_size=3, drop_path_rate=0.0, **options)  # fmt: skip
    if backend == 'triton':
        pytest.importorskip('triton', reason='Triton has wheels for Linux alone')
    net = SwinTransformer(attn_backend=backend, **options)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.to(dtype)


def _image(dtype=torch.float64):
    return torch.randn(1, 3, 20, 24, dtype=dtype, generator=torch.Generator().manual_seed(1))


def _gradients(net, x, **options):
    loss = sum(out.sin().sum() for out in net(x))
    return torch.autograd.grad(loss, list(net.parameters()), **options)


def _hooked(net):
    """Module by module, so that attention is computed alone."""
    net.layers[0].blocks[0].norm1.register_forward_hook(lambda *_: None)
    return net


@pytest.mark.parametrize('change', [lambda net: net, _hooked], ids=['whole', 'hooked'])
@pytest.mark.parametrize('backend', BACKENDS)
def test_a_graph_of_the_gradients_does_not_change_them(backend, change):
    """The bias of q, k and v reaches attention twice: through q, k and v, and as what padding is."""
    net, x = change(_net(backend)), _image()
    for plain, graph in zip(_gradients(net, x), _gradients(net, x, create_graph=True), strict=True):
        torch.testing.assert_close(graph, plain, rtol=1e-9, atol=1e-9)


def test_a_graph_of_the_gradients_under_autocast():
    net, x = _net('auto', torch.float32), _image(torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        plain, graph = _gradients(net, x), _gradients(net, x, create_graph=True)
    for a, b in zip(plain, graph, strict=True):
        assert (a - b).norm() < 0.05 * a.norm() + 1e-3


@pytest.mark.parametrize('create_graph', [False, True])
@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('backend', BACKENDS)
def test_recomputed_blocks(backend, autocast, create_graph):
    found = []
    for with_cp in (False, 'selective', True):
        net, x = _net(backend, torch.float32, with_cp=with_cp), _image(torch.float32)
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            loss = sum(out.float().sin().sum() for out in net(x))
        found.append(torch.autograd.grad(loss, list(net.parameters()), create_graph=create_graph))
    for kept, *recomputed in zip(*found, strict=True):
        for mine in recomputed:
            assert (mine - kept).norm() <= (0.05 if autocast else 1e-4) * kept.norm() + (1e-3 if autocast else 1e-5)


@pytest.mark.parametrize('create_graph', [False, True])
def test_backward_under_autocast_of_a_forward_without(create_graph):
    net, x = _net('auto', torch.float32), _image(torch.float32)
    expected = _gradients(net, x)
    loss = sum(out.sin().sum() for out in net(x))
    with torch.autocast('cpu', torch.bfloat16):
        found = torch.autograd.grad(loss, list(net.parameters()), create_graph=create_graph)
    inside = [name for name, _ in net.named_parameters()].index('layers.0.blocks.0.attn.qkv.weight')
    torch.testing.assert_close(found[inside], expected[inside], rtol=0.02, atol=0.02 * expected[inside].abs().max())


def test_float64_stays_under_autocast():
    net, x = _net('auto'), _image()
    with torch.autocast('cpu', torch.bfloat16):
        found = _gradients(net, x)
    for a, b in zip(found, _gradients(net, x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('part', ['layers.0.blocks.0', 'layers.0.blocks.0.attn', 'layers.0.downsample'])
@pytest.mark.parametrize('autocast', [False, True])
def test_outputs_may_be_changed_in_place(part, autocast):
    found = []
    for backend in ('reference', 'auto'):
        net = _net(backend, torch.float32)
        net.get_submodule(part).register_forward_hook(lambda _m, _x, out: out.add_(1))
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            found.append(_gradients(net, _image(torch.float32)))
    for expected, mine in zip(*found, strict=True):
        assert (mine - expected).norm() < (0.1 if autocast else 1e-4) * expected.norm() + 1e-3


def test_training_that_begins_before_backward_drops_nothing():
    net, found = _net('auto', attn_drop_rate=0.5).eval(), []
    for late in (False, True):
        loss = sum(out.sin().sum() for out in net.eval()(_image()))
        found.append(torch.autograd.grad(loss, list(net.train(late).parameters())))
    torch.testing.assert_close(*found)


def test_backward_makes_no_map_of_zeros():
    net = _net('auto', torch.float32)
    loss = sum(out.square().sum() for out in net(_image(torch.float32)))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
        loss.backward()
    cleared = [math.prod(event.input_shapes[0]) for event in profile.events() if event.name == 'aten::zero_']
    assert cleared and max(cleared) < 5 * 6 * 3 * 32  # q, k and v of the first stage
