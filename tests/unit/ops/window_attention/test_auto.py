"""What 'auto' takes: of the backends that agree with the reference on this device, the fastest, timed once."""

import logging

import pytest
import torch

from mmswin.ops.caches import clear_caches
from mmswin.ops.window_attention import auto, reference, resolve_backend, sdpa, window_attention

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


@pytest.fixture
def here(monkeypatch):
    """'auto' treats this device as it treats CUDA devices; the seconds of each backend, and which have computed."""
    seconds, used = {'triton': 3.0, 'sdpa': 2.0, 'reference': 1.0}, []

    def spy(name, attend):
        return lambda *args: (used.append(name), attend(*args))[1]

    monkeypatch.setattr(auto, 'DEVICES', (DEVICE,))
    candidates = {name: spy(name, attend) for name, attend in (('sdpa', sdpa.attend), ('reference', reference.attend))}
    monkeypatch.setattr(auto, 'CANDIDATES', candidates)
    monkeypatch.setattr(auto, '_seconds', lambda attend, *_: seconds[_name(candidates, attend)])
    clear_caches()
    yield seconds, used
    clear_caches()


def _name(candidates, attend):
    return next(name for name, other in candidates.items() if other is attend)


def _choose(timed=True):
    return auto.choose(torch.device(DEVICE), torch.float32, 8, (4, 4), timed)


@pytest.mark.parametrize('fastest', ['sdpa', 'reference'])
def test_the_fastest_is_taken_and_said(here, fastest, caplog):
    seconds, _ = here
    seconds[fastest] = 0.5
    with caplog.at_level(logging.INFO, 'mmswin'):
        assert _choose() == _choose() == fastest
    assert len(caplog.records) == 1
    assert f"'{fastest}'" in caplog.text
    assert 'ms' in caplog.text


def test_nothing_is_timed_under_deterministic_algorithms(here, monkeypatch):
    monkeypatch.setattr(auto, '_seconds', lambda *_: pytest.fail('timed'))
    torch.use_deterministic_algorithms(True)
    try:
        qkv = torch.randn(1, 5, 5, 48, device=DEVICE)
        window_attention(qkv, None, (4, 4), (2, 2), 2, 0.2, backend=resolve_backend('auto'))
    finally:
        torch.use_deterministic_algorithms(False)
    assert here[1][-1] == 'sdpa'


@pytest.mark.parametrize('fault', ['differs', 'raises', 'not a number'])
def test_what_disagrees_is_not_taken(here, monkeypatch, fault, caplog):
    def broken(*args):
        if fault == 'raises':
            raise RuntimeError('compiled for another device\nand more')
        return sdpa.attend(*args) * (1.01 if fault == 'differs' else float('nan'))

    here[0]['sdpa'] = 0.1
    monkeypatch.setitem(auto.CANDIDATES, 'sdpa', broken)
    with caplog.at_level(logging.WARNING, 'mmswin'):
        assert _choose() == 'reference'
    assert 'not sdpa' in caplog.text
    assert 'and more' not in caplog.text


def test_it_is_timed_in_truth_and_draws_no_random_numbers(monkeypatch):
    monkeypatch.setattr(auto, 'TIMED_SIDE', 8)
    state = torch.get_rng_state()
    with torch.inference_mode(), torch.device('meta'):  # whatever the default device is
        assert auto._seconds(reference.attend, torch.device(DEVICE), torch.float32, 8, (4, 4)) > 0
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize('side', [7, 24, 200])
def test_the_map_that_is_timed_does_not_grow_with_the_windows(side, monkeypatch):
    sizes = []
    monkeypatch.setattr(auto, '_step', lambda _, inputs, *rest: sizes.append(inputs[0].shape[1:3]))
    auto._seconds(reference.attend, torch.device('cpu'), torch.float32, 1, (side, 7))
    assert set(sizes) == {(max(168 // side, 1) * side, 168)}


def test_a_recorded_program_takes_the_choice_as_a_constant(here):
    here[0]['sdpa'] = 0.1
    qkv = torch.randn(1, 5, 5, 48, device=DEVICE)
    graphs = []
    compiled = torch.compile(
        window_attention, backend=lambda graph, _: (graphs.append(graph), graph)[1], fullgraph=True
    )
    out = compiled(qkv, None, (4, 4), (2, 2), 2, 0.2, backend=resolve_backend('auto'))
    assert 'scaled_dot_product_attention' in graphs[0].code
    torch.testing.assert_close(out, window_attention(qkv, None, (4, 4), (2, 2), 2, 0.2))


def test_elsewhere_it_is_the_reference():
    assert auto.choose(torch.device('meta'), torch.float32, 8, (4, 4), True) == 'reference'
