"""The one door: the modules' results by other ways, and the modules themselves wherever somebody could tell."""

import pytest
import torch
from kept_bytes import saved_by
from models import LEAN, PLAIN, nets
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmswin.ops.caches import clear_caches
from mmswin.ops.cpu import inference, products

SIZES = [(2, 3, 101, 133), (1, 3, 112, 112), (3, 3, 20, 30)]


def _gradients(net, x):
    net.zero_grad()
    outs = net(x)
    sum(out.square().sum() for out in outs).backward()
    return [*outs, *(parameter.grad for parameter in net.parameters())]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(
    'options',
    [{}, dict(qkv_bias=False), dict(use_rel_pos_bias=False), dict(with_cp=[False, True, 'selective'])],
    ids=str,
)
def test_values_and_gradients_equal_the_modules(size, options):
    x = torch.randn(size, dtype=torch.float64)
    plain, whole = nets(drop_path_rate=0.0, **options)
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
    for net in nets(drop_path_rate=0.0):
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
    exact = _gradients(nets(drop_path_rate=0.0)[0], x.double())
    errors = []
    for net in nets(torch.float32, drop_path_rate=0.0):
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
    for net in nets(drop_path_rate=0.5):
        torch.manual_seed(1)
        results.append(_gradients(net, x))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    assert not torch.equal(results[1][0], nets(drop_path_rate=0.0)[1](x)[0])


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
        (net,) = nets(torch.float32, (LEAN,))
        for layer in net.layers:
            for block in layer.blocks:
                block.drop_path = rate
        with Activated() as activated:
            sum(out.sum() for out in net(x)).backward()
        numbers.append(activated.numbers)
    assert 0 < numbers[1] < 0.9 * numbers[0]


def test_a_block_of_its_own_is_computed_by_its_modules():
    """Only a stage asks for other ways."""
    block = nets(torch.float32, (LEAN,))[0].layers[0].blocks[0].eval()
    seen = []
    x = torch.randn(1, 9, 11, 8)
    with torch.no_grad(), Activated() as activated:
        block(x)
        seen.append(activated.numbers)
    assert seen == [9 * 11 * 32]  # whole maps, not chunks of padded windows


@pytest.mark.parametrize('unit', [False, True])
@pytest.mark.parametrize('autocast', [False, True])
def test_modules_where_the_processor_has_a_matrix_unit_for_the_type(monkeypatch, unit, autocast):
    chunked = []
    monkeypatch.setattr(products, 'UNSUPPORTED_DTYPES', frozenset())
    monkeypatch.setattr(products, 'MATRIX_UNIT_DTYPES', frozenset({torch.bfloat16} if unit else ()))
    monkeypatch.setattr(inference, 'run_block', lambda block, x: chunked.append(block) or block(x))
    (net,) = nets(torch.float32, (LEAN,))
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        net.eval()(torch.randn(1, 3, 45, 50))
    assert len(chunked) == (0 if unit and autocast else 6)


def test_a_step_that_drops_every_branch_has_zeros_for_gradients():
    """As the modules have, on which processes that train together and optimisers with weight decay rely."""
    x = torch.randn(2, 3, 45, 50, dtype=torch.float64)
    results = []
    for net in nets(drop_path_rate=0.0):
        for layer in net.layers:
            layer.blocks[1].drop_path = 1.0
        results.append(_gradients(net, x))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)
    assert all(grad is not None for grad in results[1])


def test_an_empty_batch():
    for net in nets(torch.float32):
        outs = net(torch.randn(0, 3, 64, 64))
        assert [len(out) for out in outs] == [0, 0, 0]
        sum(out.sum() for out in outs).backward()


@pytest.mark.parametrize('way', [PLAIN, LEAN], ids=['plain', 'lean'])
def test_forward_derivatives_and_batches_of_calls(way):
    (net,) = nets(ways=(way,), drop_path_rate=0.0)
    x = torch.randn(2, 3, 30, 34, dtype=torch.float64)
    _, slope = torch.func.jvp(lambda x: net(x)[-1], (x,), (x,))
    step = 1e-6
    expected = (net(x + step * x)[-1] - net(x - step * x)[-1]) / (2 * step)
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)
    with forward_ad.dual_level():
        dual = net(forward_ad.make_dual(x, x))[-1]
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, slope)
    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(lambda x: net(x[None])[-1][0])(x), net(x)[-1])
    torch.testing.assert_close(
        torch.func.grad(lambda x: net(x)[-1].sum())(x), torch.autograd.grad(net(x.requires_grad_())[-1].sum(), x)[0]
    )


@pytest.mark.parametrize('way', [PLAIN, LEAN, dict(with_cp=True)], ids=['plain', 'lean', 'recomputed'])
@pytest.mark.parametrize('part', ['.norm1.', 'relative_position_bias_table'])
def test_networks_that_differ_in_some_parameters_are_computed_at_once(way, part):
    (net,) = nets(ways=(way,), drop_path_rate=0.0)
    x = torch.randn(2, 3, 30, 34, dtype=torch.float64)
    own = {name: value.detach() for name, value in net.named_parameters() if part in name}
    given = {name: torch.stack([value, 2 * value + 0.1]) for name, value in own.items()}

    def last(parameters):
        return torch.func.functional_call(net, parameters, (x,))[-1]

    both = torch.func.vmap(last)(given)
    grads = torch.func.grad(lambda parameters: last(parameters).square().sum())(own)
    for i in range(2):
        torch.testing.assert_close(both[i], last({name: value[i] for name, value in given.items()}))
    expected = torch.autograd.grad(net(x)[-1].square().sum(), [net.get_parameter(name) for name in own])
    for mine, grad in zip(grads.values(), expected, strict=True):
        torch.testing.assert_close(mine, grad)


@pytest.mark.parametrize('rates', [dict(drop_rate=0.2), dict(attn_drop_rate=0.2), dict(drop_path_rate=0.2)], ids=str)
def test_without_gradients_a_network_in_training_mode_still_drops(rates):
    x = torch.randn(2, 3, 64, 64)
    net = nets(torch.float32, (LEAN,), **rates)[0].train()
    with torch.no_grad():
        assert not torch.equal(net(x)[-1], net(x)[-1])
        assert torch.equal(net.eval()(x)[-1], net(x)[-1])


def test_a_training_step_keeps_half():
    x = torch.randn(1, 3, 224, 224)
    plain, whole = nets(torch.float32, drop_path_rate=0.0)
    kept = [saved_by(lambda net=net: net(x), net.parameters()) for net in (plain, whole)]
    assert kept[1] < 0.6 * kept[0]  # narrow stages have small heads: tests/parity counts Swin-T


def test_shapes_alone_without_data():
    net = nets(torch.float32, (LEAN,))[0].to('meta')
    outs = net(torch.empty(2, 3, 45, 50, device='meta'))
    assert [tuple(out.shape) for out in outs] == [(2, 8, 12, 13), (2, 16, 6, 7), (2, 32, 3, 4)]
    sum(out.sum() for out in outs).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_the_input_of_a_stage_stays_as_it_was():
    net = nets(torch.float32, (LEAN,))[0].eval()
    seen = []
    net.layers[1].register_forward_pre_hook(lambda module, args: seen.append((args[0], args[0].clone())))
    with torch.inference_mode():
        net(torch.randn(1, 3, 64, 64))
    assert torch.equal(*seen[0])


def test_fake_tensors_leave_nothing_behind():
    (net,) = nets(ways=[LEAN])
    net.eval()
    x = torch.randn(1, 3, 40, 40, dtype=torch.float64)
    clear_caches()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        shapes = [out.shape for out in net(x)]
    torch.func.grad(lambda x: net(x)[0].sum())(x)
    (expected,) = nets(ways=[PLAIN])
    for out, value, shape in zip(net(x), expected.eval()(x), shapes, strict=True):
        torch.testing.assert_close(out, value)
        assert out.shape == shape


def test_other_activations_and_norms_go_module_by_module():
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    plain, whole = nets(act_cfg=dict(type='ReLU'), drop_path_rate=0.0)
    for mine, expected in zip(_gradients(whole, x), _gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('images', 'rate'), [(1, 0.0), (4, 0.5)])
def test_gradients_of_gradients(images, rate):
    x = torch.randn(images, 3, 20, 20, dtype=torch.float64, requires_grad=True)
    found = []
    for net in nets(drop_path_rate=rate):
        torch.manual_seed(1)
        (grad,) = torch.autograd.grad(sum(out.sin().sum() for out in net(x)), x, create_graph=True)
        found.append(torch.autograd.grad(grad.square().sum(), list(net.parameters()), allow_unused=True))
    for mine, expected in zip(*found, strict=True):
        if expected is not None:
            torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)


def test_no_more_products_than_module_by_module():
    x = torch.randn(1, 3, 101, 133)
    counts = []
    for net in nets(torch.float32):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(x)
        counts.append(counter.get_total_flops())
    assert counts[1] == counts[0]


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_types_without_an_instruction_are_multiplied_in_float32(monkeypatch, dtype, training):
    class Products(TorchDispatchMode):
        types = set()

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket._qualified_op_name.split('::')[1] in {'mm', 'addmm', 'bmm', 'baddbmm'}:
                self.types |= {arg.dtype for arg in args if isinstance(arg, torch.Tensor)}
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(products, 'UNSUPPORTED_DTYPES', frozenset({torch.bfloat16, torch.float16}))
    (net,) = nets(torch.float32, (LEAN,), drop_path_rate=0.0)
    plain, exact = nets(torch.float32, (PLAIN, PLAIN), drop_path_rate=0.0)
    x = torch.randn(2, 3, 45, 50)
    with torch.set_grad_enabled(training), Products() as counted:
        with torch.autocast('cpu', dtype):
            outs = net.train(training)(x)
        if training:
            sum(out.float().square().sum() for out in outs).backward()
    assert counted.types == {torch.float32}
    with torch.no_grad(), torch.autocast('cpu', dtype):
        theirs = plain(x)
    truth = exact.double()(x.double())
    for mine, their, value in zip(outs, theirs, truth, strict=True):
        assert mine.dtype == their.dtype
        assert (mine.double() - value).norm() <= 1.1 * (their.double() - value).norm()


def test_packed_weights_in_whole_networks(monkeypatch):
    packed = products._PACKABLE if hasattr(torch.ops.mkldnn, '_linear_pointwise') else frozenset()
    monkeypatch.setattr(products, 'PACKED_DTYPES', packed)
    monkeypatch.setattr(products, 'MIN_ROWS', 64)
    x = torch.randn(2, 3, 101, 133)
    plain, lean = nets(torch.float32, drop_path_rate=0.0)
    for mine, expected in zip(_gradients(lean, x), _gradients(plain, x), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-3, atol=1e-3)
    with torch.inference_mode():
        for mine, expected in zip(lean.eval()(x), plain.eval()(x), strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)
