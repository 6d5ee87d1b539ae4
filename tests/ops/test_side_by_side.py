"""Strips computed side by side: the same values and gradients, in the caller's modes, seen by whoever watches."""

import subprocess
import sys
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmswin.backbones import SwinTransformer
from mmswin.ops import linear, side_by_side
from mmswin.ops.side_by_side import Cut, compute, cut, shares
from mmswin.ops.window_attention import resolve_backend, window_attention

CPU = torch.device('cpu')


@pytest.fixture
def three_threads(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(side_by_side, 'TOKENS', 60)
    monkeypatch.setattr(side_by_side, 'LEAST', 20)
    monkeypatch.setattr(linear, '_chosen', lambda *shape: 'linear')  # which is timed, and may come out either way
    yield
    torch.set_num_threads(before)


@pytest.fixture
def computed(monkeypatch):
    """Names of the threads that computed something."""
    names = set()

    def noted(work, parts, threads):
        def one(part):
            names.add(threading.current_thread().name)
            return work(part)

        return compute(one, parts, threads)

    for module in (side_by_side, *(sys.modules[f'mmswin.ops.{name}'] for name in (
            'cpu_block', 'cpu_training', 'window_attention.cpu'))):  # fmt: skip
        monkeypatch.setattr(module, 'compute', noted)
    return names


def network():
    torch.manual_seed(0)
    model = SwinTransformer(
        embed_dims=8, depths=(2, 2), num_heads=(2, 4), strides=(4, 2), out_indices=(0, 1), drop_path_rate=0.0
    )
    model.init_weights()
    for name, parameter in model.named_parameters():
        if name.endswith(('bias', 'bias_table')):
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def outputs(model, x, training):
    if not training:
        with torch.inference_mode():
            return model(x)
    model.zero_grad()
    outs = model(x)
    torch.manual_seed(1)
    sum((out.float() * torch.randn(out.shape)).sum() for out in outs).backward()
    return [out.detach() for out in outs] + [parameter.grad.clone() for parameter in model.parameters()]


def test_each_thread_has_as_many_parts_as_any_other(three_threads):
    assert cut(400, CPU) == Cut(6, 3)
    assert cut(60, CPU) == Cut(3, 3)
    assert cut(59, CPU) == Cut(1, 1)  # too few for each
    assert cut(400, torch.device('meta')) == Cut(7, 1)


def test_one_thread_computes_larger_parts_one_after_the_other(three_threads):
    torch.set_num_threads(1)
    assert cut(600, CPU) == Cut(10, 1)


@pytest.mark.parametrize('parts, count, expected', [(7, 3, [[0, 1], [2, 3], [4, 5, 6]]), (2, 3, [[0], [1]])])
def test_shares_are_rows_of_parts(parts, count, expected):
    assert [list(numbers) for numbers in shares(parts, count)] == expected


def test_results_come_in_order_and_threads_work_alone(three_threads):
    assert compute(lambda part: 2 * part, range(50), 3) == list(range(0, 100, 2))
    assert set(compute(lambda part: torch.get_num_threads(), range(50), 3)) == {1}
    assert torch.get_num_threads() == 3


def test_a_failure_is_raised(three_threads):
    with pytest.raises(ZeroDivisionError):
        compute(lambda part: 1 // (part - 4), range(50), 3)


def test_another_number_of_threads(three_threads):
    together = threading.Barrier(3)
    compute(lambda part: together.wait(5), range(3), 3)
    torch.set_num_threads(4)
    together = threading.Barrier(4)
    compute(lambda part: together.wait(5), range(4), 4)
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize('inference', [False, True])
@pytest.mark.parametrize('autocast', [None, torch.bfloat16])
def test_modes_are_the_callers(three_threads, inference, autocast):
    def modes(part):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), product.dtype

    with torch.inference_mode(inference), torch.autocast('cpu', dtype=autocast, enabled=autocast is not None):
        assert set(compute(modes, range(9), 3)) == {(False, inference, autocast or torch.float32)}


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('training', [False, True])
def test_a_network_by_threads_and_by_one(three_threads, computed, training, autocast):
    model, x = network().train(training), torch.randn(2, 3, 70, 90)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=autocast):
        found = outputs(model, x, training)
        assert len(computed) == 3 and all(name.startswith('mmswin') for name in computed)
        again = outputs(model, x, training)
        torch.set_num_threads(1)
        computed.clear()
        expected = outputs(model, x, training)
    assert computed == {'MainThread'}
    for one, two, wanted in zip(found, again, expected):
        assert torch.equal(one, two)  # whichever thread was faster
        size = wanted.float().abs().max()
        assert (one - wanted).float().abs().max() <= (0.05 if autocast else 1e-5) * size


def test_the_attention_alone(three_threads, computed):
    qkv, bias, pad = torch.randn(2, 18, 23, 24), torch.randn(2, 49, 49), torch.randn(24)
    grad = torch.randn(2, 18, 23, 8)

    def gradients(name):
        given = [tensor.clone().requires_grad_() for tensor in (qkv, bias, pad)]
        backend = resolve_backend(name)
        out = window_attention(given[0], given[1], (7, 7), (3, 3), 2, 0.5, given[2], backend=backend)
        return out, *torch.autograd.grad(out, given, grad)

    for found, wanted in zip(gradients('cpu'), gradients('reference')):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert len(computed) == 3


class Watching(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.operators = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.operators += 1
        return func(*args, **(kwargs or {}))


def watched(watching):
    """What a watcher counted in a forward pass."""
    model, x = network().eval(), torch.randn(1, 3, 70, 90)
    with watching, torch.no_grad():
        model(x)
    return watching


def test_whoever_watches_operators_sees_all_of_them(three_threads, computed):
    torch.set_num_threads(1)
    flops, operators = watched(FlopCounterMode(display=False)).get_total_flops(), watched(Watching()).operators
    torch.set_num_threads(3)
    assert watched(FlopCounterMode(display=False)).get_total_flops() == flops > 0
    assert watched(Watching()).operators == operators > 0
    profile = watched(torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]))
    assert any(event.key == 'aten::baddbmm' for event in profile.key_averages())
    assert computed == {'MainThread'}
    assert watched(torch.no_grad()) and len(computed) > 1  # and with nobody watching they are threads


FORKED = """
import os, torch
from mmswin.ops.side_by_side import compute
torch.set_num_threads(2)
assert compute(lambda part: 2 * part, [1, 2, 3], 2) == [2, 4, 6]
child = os.fork()
if child == 0:
    os._exit(0 if compute(lambda part: 2 * part, [1, 2, 3], 2) == [2, 4, 6] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='no fork on Windows')
def test_a_forked_process_has_threads_of_its_own():
    subprocess.run([sys.executable, '-c', FORKED], check=True, timeout=120)
