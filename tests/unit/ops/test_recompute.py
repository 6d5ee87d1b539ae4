"""Linear layers that recompute what stands before them: the modules' values and gradients, and only the input kept."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from kept_bytes import saved_by
from torch.utils.checkpoint import checkpoint

from mmswin.ops import recompute
from mmswin.ops.merging import neighbours


def _norm(x, weight=None, bias=None):
    return F.layer_norm(x, x.shape[-1:], weight, bias, 1e-5)


def _merged_norm(x, weight, bias):
    return _norm(neighbours(x, 2), weight, bias)


# name -> the function before the layer, the width that it makes of 12, its parameters
BEFORE = {
    'norm': (_norm, 12, 2),
    'norm without weights': (_norm, 12, 0),
    'gelu': (F.gelu, 12, 0),
    'tanh gelu': (partial(F.gelu, approximate='tanh'), 12, 0),
    'merging': (_merged_norm, 48, 2),
}


def _tensors(name, dtype=torch.float64, bias=True):
    torch.manual_seed(0)
    _, width, parameters = BEFORE[name]
    shapes = [(2, 5, 7, 12), (20, width), (20,), *[(width,)] * parameters]
    tensors = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    return tensors if bias else [*tensors[:2], None, *tensors[3:]]


def _mine(name, x, weight, bias, *parameters):
    return recompute.linear(x, weight, bias, BEFORE[name][0], parameters)


def _modules(name, x, weight, bias, *parameters):
    return F.linear(BEFORE[name][0](x, *parameters), weight, bias)


def _gradients(function, tensors, **options):
    out = function(*tensors)
    asked = [t for t in tensors if t is not None and t.requires_grad]
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return [out, *torch.autograd.grad(out, asked, grad, **options)]


@pytest.mark.parametrize('create_graph', [False, True])
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('name', BEFORE)
def test_values_and_gradients(name, bias, create_graph):
    found, expected = (
        _gradients(partial(f, name), _tensors(name, bias=bias), create_graph=create_graph) for f in (_mine, _modules)
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('name', BEFORE)
def test_gradients_of_gradients(name):
    tensors = [t if t.dim() < 4 else t.detach()[:1, :2, :2].requires_grad_() for t in _tensors(name)]
    assert torch.autograd.gradgradcheck(lambda *t: _mine(name, *t).tanh(), tensors, fast_mode=True)


@pytest.mark.parametrize('frozen', range(5))
def test_frozen_tensors_get_no_gradient(frozen):
    tensors = _tensors('norm')
    tensors[frozen].requires_grad_(False)
    _mine('norm', *tensors).sum().backward()
    assert [t.grad is None for t in tensors] == [i == frozen for i in range(5)]


@pytest.mark.parametrize('name', BEFORE)
def test_only_the_input_is_kept(name):
    tensors = _tensors(name)
    kept, by_modules = (saved_by(lambda f=f: f(name, *tensors), tensors[1:]) for f in (_mine, _modules))
    assert kept == tensors[0].nbytes
    assert by_modules > 1.9 * kept


@pytest.mark.parametrize('name', ['norm', 'gelu'])
def test_autocast_is_as_accurate_as_the_modules(name):
    exact = _gradients(partial(_modules, name), _tensors(name))
    with torch.autocast('cpu', torch.bfloat16):
        found, theirs = (_gradients(partial(f, name), _tensors(name, torch.float32)) for f in (_mine, _modules))
    for mine, own, truth in zip(found, theirs, exact, strict=True):
        assert mine.dtype == own.dtype
        error, allowed = ((t.double() - truth).abs().max() for t in (mine, own))
        assert error <= 1.5 * allowed + 1e-2 * truth.abs().max() / 8


def test_backward_takes_the_autocast_of_forward():
    tensors = _tensors('norm', torch.float32)
    expected = _gradients(partial(_mine, 'norm'), tensors)
    out = _mine('norm', *tensors)
    grad = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    with torch.autocast('cpu', torch.bfloat16):
        found = torch.autograd.grad(out, tensors, grad)
    for mine, theirs in zip(found, expected[1:], strict=True):
        torch.testing.assert_close(mine, theirs)


def test_a_weight_used_again_under_autocast_keeps_its_gradient():
    """Autocast keeps converted weights: one made without a graph would cost a later layer its gradient."""
    tensors = _tensors('norm', torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        _mine('norm', *tensors)
        out = F.linear(tensors[0], tensors[1])
    assert torch.autograd.grad(out.sum(), tensors[1])[0].abs().sum() > 0


def test_outputs_may_be_changed_in_place():
    for f in (_mine, _modules):
        tensors = _tensors('gelu')
        f('gelu', *tensors).add_(1).sum().backward()
        assert tensors[0].grad is not None


def test_inside_checkpoint():
    tensors = _tensors('norm')
    expected = _gradients(partial(_mine, 'norm'), tensors)
    found = _gradients(lambda *t: checkpoint(partial(_mine, 'norm'), *t, use_reentrant=False), tensors)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
