"""Strips computed side by side: the same values and gradients, in the caller's modes, seen by whoever watches."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mmswin.backbones import SwinTransformer
from mmswin.ops.cpu import attention as cpu
from mmswin.ops.cpu import block as cpu_block
from mmswin.ops.cpu import linear, sums
from mmswin.ops.cpu import parallel as side_by_side
from mmswin.ops.cpu import training as cpu_training
from mmswin.ops.cpu.parallel import Cut, compute, cut, shares
from mmswin.ops.window_attention import resolve_backend, window_attention

CPU = torch.device('cpu')


@pytest.fixture
def three_threads(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: range(8), raising=False)
    monkeypatch.setattr(side_by_side, 'TOKENS', 60)
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

    for module in (cpu_block, cpu_training, cpu, sums):
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
    assert cut(180, CPU) == Cut(3, 3)
    assert cut(179, CPU) == Cut(3, 1)  # too few for each
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


def test_the_first_failure_is_raised_and_ends_the_work(three_threads):
    done = []

    def work(part):
        if part in (1, 2):
            time.sleep(0.1 * (3 - part))  # the second fails before the first
            raise ValueError(part)
        time.sleep(0.01)
        done.append(part)

    with pytest.raises(ValueError, match='1'):
        compute(work, range(500), 3)
    count = len(done)
    assert count < 100
    time.sleep(0.1)
    assert len(done) == count


def test_without_threads_to_be_had_the_caller_computes(three_threads, monkeypatch):
    monkeypatch.setattr(side_by_side, '_workers', side_by_side._Workers())
    started, start = [], threading.Thread.start

    def two_of_three(thread):
        started.append(thread)
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, 'start', two_of_three)
    assert compute(lambda part: threading.current_thread().name, range(5), 3) == ['MainThread'] * 5
    assert torch.get_num_threads() == 3
    for thread in started[:2]:
        thread.join(10)
        assert not thread.is_alive()


def in_a_process(program, **environment):
    """The output of a Python program."""
    run = subprocess.run([sys.executable, '-c', program], env={**os.environ, **environment}, timeout=120,
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


AT_THE_END = """
import atexit, torch
from mmswin.ops.cpu.parallel import compute
torch.set_num_threads(2)
compute(lambda part: part, [1, 2, 3], 2)
atexit.register(lambda: print(compute(lambda part: 2 * part, [1, 2, 3], 2)))
"""


def test_while_the_interpreter_ends():
    assert in_a_process(AT_THE_END) == '[2, 4, 6]\n'


BOUND = """
import os, torch
from mmswin.ops.cpu.parallel import cut
torch.set_num_threads(2)
torch.ones(10**6).exp()  # now OpenMP has bound its threads
print(len(os.sched_getaffinity(0)), cut(10**5, torch.device('cpu')).threads)
"""


@pytest.mark.skipif(sys.platform != 'linux' or (os.cpu_count() or 1) < 2, reason='needs two cores of Linux')
def test_threads_bound_to_one_core_are_not_all_put_there():
    assert in_a_process(BOUND, OMP_PROC_BIND='true', OMP_PLACES='cores', OMP_NUM_THREADS='2') == '1 1\n'
    assert in_a_process(BOUND, OMP_PROC_BIND='false').split()[1] == '2'


def test_callers_with_different_numbers_of_threads(three_threads):
    def caller(count):
        torch.set_num_threads(count)
        return [sum(compute(lambda part: part, range(20), count)) for _ in range(20)]

    with ThreadPoolExecutor(3) as callers:
        for found in callers.map(caller, (2, 3, 4)):
            assert found == [190] * 20


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


def test_casts_of_the_caller_stay_kept(three_threads):
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(4, 8)
    kept = []
    with (
        torch.autocast('cpu', dtype=torch.bfloat16),
        torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: kept.append(tensor.data_ptr()) or tensor, lambda tensor: tensor
        ),
    ):
        (x.requires_grad_() @ weight).sum()
        first = set(kept)
        with torch.autocast('cpu', enabled=False):
            compute(lambda part: part, range(9), 3)
        kept.clear()
        (x @ weight).sum()
    assert set(kept) <= first


def test_recomputation_draws_the_same_images(three_threads, monkeypatch):
    """Whatever is measured in a first forward pass, the second draws the same random numbers."""
    monkeypatch.undo()
    monkeypatch.setattr(linear, '_known', {})
    torch.manual_seed(0)
    model = SwinTransformer(embed_dims=32, depths=(2,), num_heads=(1,), strides=(4,), out_indices=(0,),
                            drop_path_rate=0.5, with_cp=True)  # fmt: skip
    for layer in model.layers[0].blocks:
        layer.drop_path = 0.5
    for _ in range(3):
        model(torch.randn(6, 3, 64, 64))[0].sum().backward()
    assert linear._known


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


def test_a_default_device_is_no_watcher(three_threads):
    with torch.device('cpu'):
        assert cut(400, CPU).threads == 3
    with torch.device('meta'), torch.no_grad():
        assert network().to_empty(device='cpu')(torch.zeros(1, 3, 70, 90, device='cpu'))[0].device == CPU


def test_transforms_are_not_computed_by_threads(three_threads):
    """Which know nothing of them, so that a derivative would be zero."""
    model, x = network().double().eval(), torch.randn(1, 3, 70, 90, dtype=torch.float64)
    with torch.no_grad(), pytest.raises((NotImplementedError, RuntimeError)):
        torch.func.jvp(lambda x: model(x)[1], (x,), (x,))


FORKED = """
import os, torch
from mmswin.ops.cpu.parallel import compute
torch.set_num_threads(2)
assert compute(lambda part: 2 * part, [1, 2, 3], 2) == [2, 4, 6]
child = os.fork()
if child == 0:
    os._exit(0 if compute(lambda part: 2 * part, [1, 2, 3], 2) == [2, 4, 6] else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='no fork on Windows')
def test_a_forked_process_has_threads_of_its_own():
    in_a_process(FORKED)
