"""Pairs that keep less have the values and gradients of the modules, and keep nothing but what they were given."""

import pytest
import torch
import torch.nn.functional as F
from kept_bytes import saved_by

from mmswin.ops.merging import neighbours
from mmswin.ops.recompute import gelu_linear, norm_linear


def _tensors(dtype=torch.float64, affine=True, bias=True):
    torch.manual_seed(0)
    x, gain, shift = torch.randn(2, 5, 7, 12), torch.randn(12), torch.randn(12)
    weight, offset = torch.randn(20, 12), torch.randn(20)
    tensors = [x, gain if affine else None, shift if affine else None, weight, offset if bias else None]
    return [None if t is None else t.to(dtype).requires_grad_() for t in tensors]


def _pairs(approximate='none'):
    def norm_pair(x, gain, shift, weight, bias):
        return norm_linear(x, (gain, shift, 1e-5), weight, bias)

    def gelu_pair(x, gain, shift, weight, bias):
        return gelu_linear(x, weight, bias, approximate)

    def norm_modules(x, gain, shift, weight, bias):
        return F.linear(F.layer_norm(x, x.shape[-1:], gain, shift, 1e-5), weight, bias)

    def gelu_modules(x, gain, shift, weight, bias):
        return F.linear(F.gelu(x, approximate=approximate), weight, bias)

    return {'norm': (norm_pair, norm_modules), 'gelu': (gelu_pair, gelu_modules)}


def _gradients(function, tensors):
    out = function(*tensors)
    asked = [t for t in tensors if t is not None and t.requires_grad]
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out, *torch.autograd.grad(out, asked, grad, allow_unused=True)]


@pytest.mark.parametrize('pair', ['norm', 'gelu'])
@pytest.mark.parametrize(('affine', 'bias'), [(True, True), (False, False)])
def test_values_and_gradients(pair, affine, bias):
    mine, modules = _pairs()[pair]
    found, expected = (_gradients(f, _tensors(affine=affine, bias=bias)) for f in (mine, modules))
    for a, b in zip(found, expected, strict=True):
        if b is None:
            assert a is None
        else:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('step', [1, 2, 3])
@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 1), (2, 3)])
def test_merging_before_the_norm(step, size):
    torch.manual_seed(0)
    shapes = [(2, *size, 3), (12,), (12,), (20, 12), (20,)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def mine(x, gain, shift, weight, bias):
        return norm_linear(x, (gain, shift, 1e-5), weight, bias, step)

    def modules(x, gain, shift, weight, bias):
        return F.linear(F.layer_norm(neighbours(x, step), (12,), gain, shift, 1e-5), weight, bias)

    for found, expected in zip(_gradients(mine, tensors), _gradients(modules, tensors), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    if size == (1, 1):
        assert torch.autograd.gradgradcheck(mine, tensors)
    kept = saved_by(lambda: mine(*tensors), tensors[1:])
    assert kept == tensors[0].numel() * 8


def test_the_other_gelu():
    mine, modules = _pairs('tanh')['gelu']
    for a, b in zip(_gradients(mine, _tensors()), _gradients(modules, _tensors()), strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('pair', ['norm', 'gelu'])
@pytest.mark.parametrize('frozen', range(5))
def test_frozen_parts_get_no_gradient(pair, frozen):
    mine, _ = _pairs()[pair]
    tensors = _tensors()
    tensors[frozen].requires_grad_(False)
    mine(*tensors).sum().backward()
    assert tensors[frozen].grad is None
    assert tensors[0 if frozen else 3].grad is not None


@pytest.mark.parametrize('pair', ['norm', 'gelu'])
def test_gradients_of_gradients(pair):
    mine, _ = _pairs()[pair]
    tensors = [t.detach()[:1, :2, :2] if t.dim() == 4 else t.detach() for t in _tensors()]
    tensors = [t.requires_grad_() for t in tensors]
    asked = tensors if pair == 'norm' else [tensors[0], tensors[3], tensors[4]]

    def of(*inputs):
        given = list(inputs) if pair == 'norm' else [inputs[0], None, None, *inputs[1:]]
        return mine(*given).tanh()

    assert torch.autograd.gradgradcheck(of, asked)


@pytest.mark.parametrize('pair', ['norm', 'gelu'])
@pytest.mark.parametrize('enabled', [True, False])
def test_precision_under_autocast(pair, enabled):
    """As accurate as the modules, or better: torch sums a LayerNorm's gradients in bfloat16 where the map is."""
    dtype = torch.float32 if enabled else torch.bfloat16
    mine, modules = _pairs()[pair]
    exact = _gradients(modules, [t.detach().to(dtype).double().requires_grad_() for t in _tensors()])
    with torch.autocast('cpu', torch.bfloat16, enabled=enabled):
        found, theirs = _gradients(mine, _tensors(dtype)), _gradients(modules, _tensors(dtype))
    assert found[0].dtype == theirs[0].dtype == torch.bfloat16
    for a, b, e in zip(found, theirs, exact, strict=True):
        if e is not None:
            assert a.dtype == b.dtype
            error, own = ((t.double() - e).abs().max().item() for t in (a, b))
            assert error <= 1.5 * own + 1e-2 * e.abs().max().item() / 8


@pytest.mark.parametrize('pair', ['norm', 'gelu'])
def test_only_the_input_is_kept(pair):
    mine, modules = _pairs()[pair]
    tensors = _tensors()
    kept, by_modules = (saved_by(lambda f=f: f(*tensors), tensors[1:]) for f in (mine, modules))
    assert kept == tensors[0].nbytes
    assert by_modules > 1.9 * kept
