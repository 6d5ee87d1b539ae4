"""Blocks that are more than modules called in turn: the same results, less memory, and hooks are called."""

import pytest
import torch
from kept_bytes import saved_by
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmswin import SwinTransformer
from mmswin.backbones.swin import SwinBlock
from mmswin.ops import windows
from mmswin.ops.cpu import chunks as strips

SIZES = [(2, 3, 101, 133), (1, 3, 112, 112), (3, 3, 20, 30)]


def _nets(dtype=torch.float64, backends=('reference', 'auto'), **options):
    nets = []
    for backend in backends:
        torch.manual_seed(0)
        net = SwinTransformer(embed_dims=8, depths=(2, 2, 2), num_heads=(1, 2, 4), strides=(4, 2, 2),
                              out_indices=(0, 1, 2), attn_backend=backend, **options)  # fmt: skip
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        nets.append(net.to(dtype))
    return nets


def _gradients(net, x):
    net.zero_grad()
    outs = net(x)
    sum(out.square().sum() for out in outs).backward()
    return [*outs, *(parameter.grad for parameter in net.parameters())]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(
    'options', [{}, dict(qkv_bias=False), dict(use_rel_pos_bias=False), dict(with_cp=[False, True, False])], ids=str
)
def test_values_and_gradients_equal_the_modules(size, options):
    x = torch.randn(size, dtype=torch.float64)
    plain, whole = _nets(drop_path_rate=0.0, **options)
    for mine, expected in zip(_gradients(whole, x), _gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    for training in (True, False):
        with torch.inference_mode():
            for mine, expected in zip(whole.train(training)(x), plain.train(training)(x), strict=True):
                torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('frozen', ['norm', 'qkv', 'proj', 'relative', 'mlp', 'weight', 'bias', 'layers.0', ''])
def test_frozen_parameters_get_no_gradient_and_the_others_theirs(frozen):
    x = torch.randn(2, 3, 45, 50, dtype=torch.float64)
    found = []
    for net in _nets(drop_path_rate=0.0):
        for name, parameter in net.named_parameters():
            parameter.requires_grad_(frozen not in name or not frozen)
        if not frozen:  # all but the image
            net.requires_grad_(False)
            x.requires_grad_()
        outs = net(x)
        sum(out.square().sum() for out in outs).backward()
        found.append([*(parameter.grad for parameter in net.parameters()), x.grad])
        x.grad = None
    for mine, expected in zip(*found, strict=True):
        if expected is None:
            assert mine is None
        else:
            torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


def test_autocast_trains_as_accurately_as_the_modules():
    x = torch.randn(2, 3, 45, 50)
    exact = _gradients(_nets(drop_path_rate=0.0)[0], x.double())
    errors = []
    for net in _nets(torch.float32, drop_path_rate=0.0):
        net.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            outs = net(x)
        sum(out.float().square().sum() for out in outs).backward()
        found = [*outs, *(parameter.grad for parameter in net.parameters())]
        errors.append(sum(((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, exact)) / len(exact))
    assert errors[1] < 1.1 * errors[0]


def test_random_numbers_are_drawn_alike():
    """Stochastic depth and the projection's dropout, with the same seed."""
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    results = []
    for net in _nets(drop_path_rate=0.5):
        torch.manual_seed(1)
        results.append(_gradients(net, x))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    assert not torch.equal(results[1][0], _nets(drop_path_rate=0.0)[1](x)[0])


class Activated(TorchDispatchMode):
    """Counts the numbers that a GELU or its gradient is computed of."""

    def __init__(self):
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if 'gelu' in str(func):
            self.numbers += args[0].numel()
        return func(*args, **(kwargs or {}))


def test_branches_of_dropped_images_are_not_computed():
    x = torch.randn(8, 3, 64, 64)
    numbers = []
    for rate in (0.0, 0.5):
        (net,) = _nets(torch.float32, ('auto',))
        for layer in net.layers:
            for block in layer.blocks:
                block.drop_path = rate
        with Activated() as activated:
            sum(out.sum() for out in net(x)).backward()
        numbers.append(activated.numbers)
    assert 0 < numbers[1] < 0.9 * numbers[0]


def test_a_step_that_drops_every_branch_has_zeros_for_gradients():
    """As the modules have, on which processes that train together and optimisers with weight decay rely."""
    x = torch.randn(2, 3, 45, 50, dtype=torch.float64)
    results = []
    for net in _nets(drop_path_rate=0.0):
        for layer in net.layers:
            layer.blocks[1].drop_path = 1.0
        results.append(_gradients(net, x))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    assert all(grad is not None for grad in results[1])


def test_an_empty_batch():
    for net in _nets(torch.float32):
        outs = net(torch.randn(0, 3, 64, 64))
        assert [len(out) for out in outs] == [0, 0, 0]
        sum(out.sum() for out in outs).backward()


def test_the_reference_has_forward_derivatives_and_batches_of_calls():
    """What the ways that keep less do not have."""
    (net,) = _nets(backends=('reference',), drop_path_rate=0.0)
    x = torch.randn(2, 3, 30, 34, dtype=torch.float64)
    _, slope = torch.func.jvp(lambda x: net(x)[-1], (x,), (x,))
    step = 1e-6
    expected = (net(x + step * x)[-1] - net(x - step * x)[-1]) / (2 * step)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.func.vmap(lambda x: net(x[None])[-1][0])(x), net(x)[-1])


@pytest.mark.parametrize('rates', [dict(drop_rate=0.2), dict(attn_drop_rate=0.2), dict(drop_path_rate=0.2)], ids=str)
def test_without_gradients_a_network_in_training_mode_still_drops(rates):
    x = torch.randn(2, 3, 64, 64)
    net = _nets(torch.float32, ('auto',), **rates)[0].train()
    with torch.no_grad():
        assert not torch.equal(net(x)[-1], net(x)[-1])
        assert torch.equal(net.eval()(x)[-1], net(x)[-1])


def test_a_training_step_keeps_half():
    x = torch.randn(1, 3, 224, 224)
    plain, whole = _nets(torch.float32, drop_path_rate=0.0)
    kept = [saved_by(lambda net=net: net(x), net.parameters()) for net in (plain, whole)]
    assert kept[1] < 0.6 * kept[0]


@pytest.mark.parametrize('backend', ['auto', 'cpu'])
def test_shapes_alone_without_data(backend):
    net = _nets(torch.float32, (backend,))[0].to('meta')
    outs = net(torch.empty(2, 3, 45, 50, device='meta'))
    assert [tuple(out.shape) for out in outs] == [(2, 8, 12, 13), (2, 16, 6, 7), (2, 32, 3, 4)]
    sum(out.sum() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_the_input_of_a_stage_stays_as_it_was():
    net = _nets(torch.float32, ('auto',))[0].eval()
    seen = []
    net.layers[1].register_forward_pre_hook(lambda module, args: seen.append((args[0], args[0].clone())))
    with torch.inference_mode():
        net(torch.randn(1, 3, 64, 64))
    assert torch.equal(*seen[0])


def _parts(block):
    return {name: module for name, module in block.named_modules() if name not in ('', 'attn.drop')}


PARTS = sorted(_parts(SwinTransformer(embed_dims=32, depths=(1,), num_heads=(1,), strides=(4,), out_indices=(0,),
                                      init_cfg=None).layers[0].blocks[0]))  # fmt: skip


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize('training', [True, False])
def test_every_hook_is_called(part, training):
    net = _nets(torch.float32, ('auto',))[0].train(training)
    calls = []
    module = net.layers[1].blocks[1].get_submodule(part)
    module.register_forward_hook(lambda module, args, out: calls.append('forward'))
    module.register_forward_pre_hook(lambda module, args: calls.append('before'))
    with torch.set_grad_enabled(training):
        net(torch.randn(1, 3, 64, 64))
    times = 2 if part == 'mlp.drop' else 1
    assert sorted(calls) == ['before'] * times + ['forward'] * times


def test_hooks_of_all_modules_and_of_blocks_are_called():
    net = _nets(torch.float32, ('auto',))[0].eval()
    seen = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, args, out: seen.append(type(module)))
    with torch.no_grad():
        net(torch.randn(1, 3, 64, 64))
    handle.remove()
    assert seen.count(SwinBlock) == 6
    outs = []
    net.layers[0].blocks[0].register_forward_hook(lambda module, args, out: outs.append((out, out.clone())))
    with torch.no_grad():
        net(torch.randn(1, 3, 64, 64))
    assert torch.equal(*outs[0])


@pytest.mark.parametrize('training', [True, False])
def test_replaced_parts_are_used(training):
    class Doubled(torch.nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    x = torch.randn(1, 3, 64, 64)
    net = _nets(torch.float32, ('auto',), drop_path_rate=0.0)[0].train(training)
    before = net(x)[0].detach()
    mlp = net.layers[0].blocks[0].mlp
    doubled = Doubled(8, 32)
    doubled.load_state_dict(mlp.fc1.state_dict())
    mlp.fc1 = doubled
    with torch.set_grad_enabled(training):
        assert not torch.allclose(net(x)[0], before, atol=1e-3)


def test_attention_that_trains_in_a_block_that_does_not_drops_weights():
    (net,) = _nets(backends=['auto'], attn_drop_rate=0.5)
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    net.eval()
    with torch.no_grad():
        expected = net(x)[0]
        net.layers[0].blocks[0].attn.train()
        assert not torch.allclose(net(x)[0], expected)


def test_layers_whose_bias_is_a_method():
    """As those are that torch.ao.quantization puts in place of linear layers."""

    class Quantised(torch.nn.Module):
        def __init__(self, of):
            super().__init__()
            self.of = of

        def bias(self):
            return self.of.bias

        def forward(self, x):
            return self.of(x)

    (net,) = _nets(backends=['auto'])
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        expected = net.eval()(x)
        attn = net.layers[0].blocks[0].attn
        attn.qkv = Quantised(attn.qkv)
        torch.testing.assert_close(net(x), expected)


@pytest.mark.parametrize('backend', ['auto', 'cpu'])
def test_fake_tensors_leave_nothing_behind(backend):
    (net,) = _nets(backends=[backend])
    net.eval()
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    windows.clear_caches()
    for kept in (strips._kept, strips._border_masks):
        kept.clear()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        shapes = [out.shape for out in net(x)]
    torch.func.grad(lambda x: net(x)[0].sum())(x)
    (expected,) = _nets(backends=['reference'])
    for out, value, shape in zip(net(x), expected.eval()(x), shapes, strict=True):
        torch.testing.assert_close(out, value)
        assert out.shape == shape


def test_other_activations_and_norms_go_module_by_module():
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    plain, whole = _nets(act_cfg=dict(type='ReLU'), drop_path_rate=0.0)
    for mine, expected in zip(_gradients(whole, x), _gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('images', 'rate'), [(1, 0.0), (4, 0.5)])
def test_gradients_of_gradients(images, rate):
    x = torch.randn(images, 3, 20, 20, dtype=torch.float64, requires_grad=True)
    found = []
    for net in _nets(drop_path_rate=rate):
        torch.manual_seed(1)
        (grad,) = torch.autograd.grad(sum(out.sin().sum() for out in net(x)), x, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), list(net.parameters()), allow_unused=True))
    for mine, expected in zip(*found, strict=True):
        if expected is not None:
            torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)


def test_no_more_products_than_module_by_module():
    x = torch.randn(1, 3, 101, 133)
    counts = []
    for net in _nets(torch.float32):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(x)
        counts.append(counter.get_total_flops())
    assert counts[1] == counts[0]
