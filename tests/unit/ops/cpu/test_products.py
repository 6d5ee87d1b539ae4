"""Linear layers by oneDNN with a packed weight, and in float32 where the processor lacks an instruction."""

import pytest
import torch
import torch.nn.functional as F

from mmswin.ops.cpu import products
from mmswin.ops.cpu.products import layer, linear, product

HALVES = (torch.bfloat16, torch.float16)
needs_operators = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, '_linear_pointwise') or not torch.backends.mkldnn.is_available(),
    reason='this torch has no oneDNN, and nothing is packed there',
)


@pytest.fixture
def packing(monkeypatch):
    """Weights are packed, whatever this processor gains by it; returns the types of those packed so far."""
    packed = []
    pack = products._pack
    monkeypatch.setattr(products, 'PACKED_DTYPES', products._PACKABLE)
    monkeypatch.setattr(products, 'MIN_ROWS', 64)
    monkeypatch.setattr(products, '_pack', lambda weight: (packed.append(weight.dtype), pack(weight))[1])
    return packed


def _layer(dtype=torch.float32, rows=(2, 50)):
    torch.manual_seed(0)
    return (
        torch.randn(*rows, 24).to(dtype),
        torch.nn.Parameter(torch.randn(40, 24).to(dtype)),
        torch.randn(40).to(dtype),
    )


@needs_operators
@pytest.mark.parametrize('gelu', [None, 'none', 'tanh'])
@pytest.mark.parametrize('with_bias', [True, False])
def test_packed_weights_compute_the_same(packing, gelu, with_bias):
    x, weight, bias = _layer()
    bias = bias if with_bias else None
    with torch.no_grad():
        expected = F.linear(x, weight, bias)
        expected = expected if gelu is None else F.gelu(expected, approximate=gelu)
        torch.testing.assert_close(linear(x, weight, bias, gelu), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(linear(x.transpose(0, 1), weight, bias, gelu), expected.transpose(0, 1))
    assert packing == [torch.float32] * 2


@needs_operators
@pytest.mark.skipif(torch.bfloat16 in products.UNSUPPORTED_DTYPES, reason='bfloat16 is multiplied in float32 here')
@pytest.mark.parametrize('gelu', [None, 'none', 'tanh'])
def test_bfloat16_is_packed_for_several_chunks(packing, gelu):
    x, weight, bias = _layer()
    expected = F.linear(x.bfloat16().double(), weight.bfloat16().double(), bias.bfloat16().double())
    expected = (expected if gelu is None else F.gelu(expected, approximate=gelu)).bfloat16()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        fc = layer(x, weight, bias, rows=100)
        chunks = torch.cat([fc(chunk, gelu) for chunk in x.split(1)])
        torch.testing.assert_close(chunks, expected, rtol=1e-2, atol=1e-2)
        torch.testing.assert_close(linear(x, weight, bias, gelu), expected, rtol=1e-2, atol=2e-2)
    assert packing == [torch.bfloat16]


@needs_operators
def test_a_weight_that_was_changed_is_seen(packing):
    x, weight, _ = _layer()
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(linear(x, weight, None), F.linear(x, weight), rtol=1e-5, atol=1e-5)
            weight.data.copy_(torch.randn(40, 24))  # as moving averages do: no version, no address tells
            torch.testing.assert_close(linear(x, weight, None), F.linear(x, weight), rtol=1e-5, atol=1e-5)


@needs_operators
@pytest.mark.parametrize('rows', [(0,), (3,)])
def test_few_rows_are_left_to_torch(packing, rows):
    x, weight, bias = _layer(rows=rows)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias))
    assert not packing


@pytest.mark.parametrize('capability', ['DEFAULT', 'AVX2'])
def test_packing_is_for_processors_that_gain(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    assert not products._packed_dtypes()


def test_without_the_private_operators_nothing_is_packed(monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX512')
    monkeypatch.setattr(torch.ops, 'mkldnn', object())
    assert not products._packed_dtypes()
    assert products._unsupported_dtypes() == frozenset()


def test_the_processor_is_asked(monkeypatch):
    class Ops:
        _is_mkldnn_bf16_supported = staticmethod(lambda: True)
        _is_mkldnn_fp16_supported = staticmethod(lambda: False)

    monkeypatch.setattr(torch.ops, 'mkldnn', Ops)
    assert products._unsupported_dtypes() == {torch.float16}


@pytest.mark.parametrize('dtype', HALVES, ids=str)
def test_unsupported_types_are_multiplied_in_float32(monkeypatch, dtype):
    monkeypatch.setattr(products, 'UNSUPPORTED_DTYPES', frozenset(HALVES))
    x, weight, bias = _layer(dtype)
    with torch.no_grad():
        expected = F.linear(x.float(), weight.float(), bias.float())
        assert torch.equal(linear(x, weight, bias), expected.to(dtype))
        assert torch.equal(layer(x, weight, bias, rows=100)(x, None), expected.to(dtype))
        rows = x.flatten(0, 1)
        assert torch.equal(product(rows.t(), rows), (rows.float().t() @ rows.float()).to(dtype))


def test_autocast_gives_the_type(monkeypatch):
    monkeypatch.setattr(products, 'UNSUPPORTED_DTYPES', frozenset(HALVES))
    x, weight, bias = _layer()
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(linear(x, weight, bias), F.linear(x.double(), weight.double(), bias.double()).bfloat16())
        assert linear(x.double(), weight.double(), None).dtype == torch.float64
