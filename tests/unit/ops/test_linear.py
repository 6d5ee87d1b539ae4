"""A linear layer is the same on every route, and the faster one is taken."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmswin.ops.cpu import linear as module
from mmswin.ops.cpu.linear import ROUTES, linear, route
from mmswin.ops.low_precision import autocast_type


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Nothing measured, and two threads as far as the choice knows."""
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    monkeypatch.setattr(module, '_known', {})


@pytest.mark.parametrize('name', ROUTES)
@pytest.mark.parametrize('with_bias', [True, False])
@pytest.mark.parametrize('threads', [1, 2])
def test_routes_compute_the_same(monkeypatch, name, with_bias, threads):
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads)
    torch.manual_seed(0)
    x, weight, bias = torch.randn(300, 24), torch.randn(40, 24), torch.randn(40) if with_bias else None
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double())
    # A transposed weight is what backward multiplies with.
    for w in (weight, weight.t().contiguous().t()):
        out = ROUTES[name](x, w, bias)
        assert out.shape == (300, 40)
        assert out.is_contiguous()
        assert (out - expected).abs().max() < 1e-5


@pytest.mark.parametrize('inputs', [300, 768, 2048])
def test_routes_are_equally_exact(monkeypatch, inputs):
    """However many products are added up."""
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 1)  # as it is here: oneDNN's convolution and no other
    torch.manual_seed(0)
    x, weight, bias = torch.randn(512, inputs), torch.randn(384, inputs), torch.randn(384)
    exact = F.linear(x.double(), weight.double(), bias.double())
    errors = {name: (compute(x, weight, bias) - exact).norm().item() for name, compute in ROUTES.items()}
    assert errors['convolution'] <= 1.2 * errors['linear']


@pytest.mark.parametrize('name', ROUTES)
@pytest.mark.parametrize('with_bias', [True, False])
def test_into_memory_that_is_there(monkeypatch, name, with_bias):
    monkeypatch.setattr(module, 'route', lambda x, weight: name)
    x, weight, bias = torch.randn(70, 24), torch.randn(40, 24), torch.randn(40) if with_bias else None
    out = torch.full((70, 40), torch.nan)
    assert linear(x, weight, bias, out=out) is out
    torch.testing.assert_close(out, F.linear(x, weight, bias), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('faster', ['linear', 'convolution'])
def test_the_faster_route_is_measured_once_and_taken(monkeypatch, faster):
    """The clock advances by what each route is said to take."""
    clock, calls = [0.0], []

    def timed(name, seconds):
        original = ROUTES[name]

        def call(*args):
            calls.append(name)
            clock[0] += seconds
            return original(*args)

        return call

    for name in list(ROUTES):
        monkeypatch.setitem(ROUTES, name, timed(name, 1.0 if name == faster else 2.0))
    monkeypatch.setattr(module.time, 'perf_counter', lambda: clock[0])
    x, weight = torch.randn(100, 8), torch.randn(16, 8)
    linear(x, weight)
    assert calls[-1] == faster
    measured = len(calls)
    assert {*calls} == {*ROUTES}
    linear(torch.randn(120, 8), weight)  # between the same powers of two
    assert calls[measured:] == [faster]


def test_whoever_watches_sees_one_product():
    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x, weight = torch.randn(100, 8), torch.randn(16, 8)
    with Watch():
        linear(x, weight)
    assert sum(any(word in name for word in ('mm', 'linear', 'convolution')) for name in seen) == 1


def test_weights_that_stand_for_others_are_left_to_torch():
    class Other(torch.Tensor):
        pass

    assert route(torch.randn(100, 8), torch.randn(16, 8).as_subclass(Other)) == 'linear'
    assert module._known == {}


def test_the_convolution_is_onednns_with_one_thread_too(monkeypatch, request):
    monkeypatch.undo()
    before = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(before))
    torch.set_num_threads(1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile, torch.no_grad():
        ROUTES['convolution'](torch.randn(300, 24), torch.randn(40, 24), None)
    names = {event.key for event in profile.key_averages()}
    assert 'aten::mkldnn_convolution' in names and 'aten::_slow_conv2d_forward' not in names


def test_measuring_draws_no_random_numbers():
    before = torch.get_rng_state()
    route(torch.randn(100, 8, generator=torch.Generator()), torch.zeros(16, 8))
    assert module._known
    assert torch.equal(torch.get_rng_state(), before)


def test_a_route_that_is_hardly_faster_is_left(monkeypatch):
    monkeypatch.setattr(module, 'WORTH_IT', 0.0)
    assert route(torch.randn(100, 8), torch.randn(16, 8)) == 'linear'


def test_all_else_is_torchs_own(monkeypatch):
    monkeypatch.setattr(module, '_fastest', lambda *args: 'convolution')
    x, weight = torch.randn(100, 8), torch.randn(16, 8)
    assert route(x, weight) == 'convolution'
    assert route(x[:10], weight) == 'linear'
    assert route(x.double(), weight.double()) == 'linear'
    assert route(x.to('meta'), weight.to('meta')) == 'linear'
    with torch.autocast('cpu', torch.bfloat16):
        assert route(x, weight) == 'linear'
    torch.use_deterministic_algorithms(True)
    try:
        assert route(x, weight) == 'linear'
    finally:
        torch.use_deterministic_algorithms(False)
    with torch.backends.mkldnn.flags(enabled=False):
        assert route(x, weight) == 'linear'
    assert route(x, weight) == 'convolution'


def test_type_under_autocast():
    assert autocast_type('cpu') is None
    assert autocast_type('meta') is None
    with torch.autocast('cpu', torch.bfloat16):
        assert autocast_type('cpu') == torch.bfloat16
    with torch.autocast('cpu', torch.bfloat16, enabled=False):
        assert autocast_type('cpu') is None
