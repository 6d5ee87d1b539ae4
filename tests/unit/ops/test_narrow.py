"""Products in bfloat16 and float16 where the processor has none: in float32, of the same types, as accurate."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmswin import SwinTransformer
from mmswin.ops import low_precision as narrow
from mmswin.ops.cpu.linear import linear

HALVES = (torch.bfloat16, torch.float16)
PRODUCTS = {'mm', 'addmm', 'bmm', 'baddbmm', 'convolution', 'convolution_backward'}


class Products(TorchDispatchMode):
    """Notes the types of the matrices that are multiplied."""

    def __init__(self):
        super().__init__()
        self.types = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket._qualified_op_name.split('::')[1] in PRODUCTS:
            self.types |= {arg.dtype for arg in args if isinstance(arg, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.fixture
def slow(monkeypatch):
    monkeypatch.setattr(narrow, 'SLOW', frozenset(HALVES))


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(narrow, 'SLOW', frozenset())


def _net(backend='auto'):
    torch.manual_seed(0)
    net = SwinTransformer(embed_dims=8, depths=(2, 2), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1),
                          drop_path_rate=0.0, attn_backend=backend)  # fmt: skip
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def _step(net, x, dtype, training):
    with Products() as products, torch.set_grad_enabled(training):
        with torch.autocast('cpu', dtype or torch.bfloat16, enabled=dtype is not None):
            outs = net(x)
        found = [*outs]
        if training:
            sum(out.double().square().sum() for out in outs).backward()
            found += [parameter.grad for parameter in net.parameters()]
    return found, products.types


@pytest.mark.parametrize('dtype', HALVES, ids=str)
@pytest.mark.parametrize('training', [False, True])
def test_no_product_is_narrow_where_that_is_slow(slow, dtype, training):
    x = torch.randn(2, 3, 45, 50)
    found, types = _step(_net(), x, dtype, training)
    assert types == {torch.float32}
    expected, _ = _step(_net('reference'), x, dtype, training)
    assert [t.dtype for t in found] == [t.dtype for t in expected]


@pytest.mark.parametrize('training', [False, True])
def test_products_are_narrow_where_they_are_fast(fast, training):
    _, types = _step(_net(), torch.randn(2, 3, 45, 50), torch.bfloat16, training)
    assert torch.bfloat16 in types


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('speed', ['slow', 'fast'])
def test_values_and_gradients_are_as_accurate_as_the_references(request, speed, training):
    request.getfixturevalue(speed)
    x = torch.randn(2, 3, 45, 50)
    exact, _ = _step(_net('reference').double(), x.double(), None, training)
    errors = []
    for backend in ('reference', 'auto'):
        found, _ = _step(_net(backend), x, torch.bfloat16, training)
        errors.append(sum(((a.double() - b).norm() / b.norm()).item() for a, b in zip(found, exact, strict=True)))
    assert errors[1] < 1.1 * errors[0]


@pytest.mark.parametrize('dtype', HALVES, ids=str)
def test_a_network_of_half_width_weights_as_well(slow, dtype):
    net, x = _net().to(dtype).eval(), torch.randn(1, 3, 40, 50)
    with torch.inference_mode():
        outs = net(x.to(dtype))
        expected = _net('reference').double().eval()(x.double())
    for out, value in zip(outs, expected, strict=True):
        assert out.dtype == dtype
        assert (out.double() - value).norm() < 0.05 * value.norm()


def test_linear_layers(slow):
    x, weight, bias = torch.randn(70, 24), torch.randn(40, 24), torch.randn(40)
    expected = x @ weight.t() + bias
    halves = [t.bfloat16() for t in (x, weight, bias)]
    assert linear(*halves).dtype == torch.bfloat16
    torch.testing.assert_close(linear(*halves).float(), expected, rtol=0.02, atol=0.1)
    out = torch.empty(70, 40, dtype=torch.bfloat16)
    assert linear(*halves, out=out) is out
    assert torch.equal(out, linear(*halves))
    with torch.autocast('cpu', torch.float16):
        torch.testing.assert_close(linear(x, weight, bias), expected.half())
        assert linear(x.double(), weight.double()).dtype == torch.float64


def test_a_module_of_other_weights_is_called_as_it_is(slow):
    module = torch.nn.Linear(8, 8).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(narrow.call(module, x), module(x))


def test_the_processor_is_asked(monkeypatch):
    class Ops:
        @staticmethod
        def _is_mkldnn_bf16_supported():
            return True

        @staticmethod
        def _is_mkldnn_fp16_supported():
            return False

    monkeypatch.setattr(torch.ops, 'mkldnn', Ops)
    assert narrow._in_plain_loops() == {torch.float16}
    monkeypatch.setattr(torch.ops, 'mkldnn', object())  # a torch built without it
    assert narrow._in_plain_loops() == frozenset()


def test_autocast_as_it_was_asked_for():
    with torch.autocast('cpu', torch.bfloat16):
        with narrow.autocast_of('cpu', None):
            assert narrow.autocast_type('cpu') is None
        with narrow.autocast_of('cpu', torch.float16):
            assert narrow.autocast_type('cpu') == torch.float16
        assert narrow.autocast_type('cpu') == torch.bfloat16
    with narrow.autocast_of('cpu', torch.bfloat16):
        assert narrow.autocast_type('cpu') == torch.bfloat16
    with narrow.autocast_of('meta', None):  # which has none
        pass
