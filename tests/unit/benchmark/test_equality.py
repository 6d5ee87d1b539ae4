"""The gate: equal sides pass, a side that computes something else takes no part, one that is missing says so."""

import pytest
import torch

from mmswin.benchmark import equality, peers
from mmswin.benchmark.work import Work

SPEC = peers.Spec('tiny', 7, 0.0)


@pytest.fixture(scope='module')
def tensors():
    return peers.source_model(SPEC).state_dict()


def _wrong(spec, tensors):
    model = peers.PEERS['mmswin-reference'](spec, tensors)
    model.layers[1].blocks[1].attn.shift = (0, 0)
    return model


def _missing(spec, tensors):
    raise ModuleNotFoundError('no module', name='some_library')


@pytest.mark.parametrize('mode', ['inference', 'training'])
def test_sides_are_judged_by_what_they_compute(monkeypatch, tensors, mode):
    monkeypatch.setitem(peers.PEERS, 'wrong', _wrong)
    monkeypatch.setitem(peers.PEERS, 'missing', _missing)
    work = Work(mode=mode, sizes=('1x72x104',))
    verdicts = equality.judge(['mmswin-reference', 'mmswin-sdpa', 'wrong', 'missing'], work, tensors)
    assert verdicts['mmswin-reference'].reason is None and verdicts['mmswin-sdpa'].reason is None
    assert 0 < verdicts['mmswin-sdpa'].error < 1e-5
    assert 'not equal' in verdicts['wrong'].reason and verdicts['wrong'].error > 1e-3
    assert verdicts['missing'].reason == 'some_library cannot be imported'


def test_mmdets_class_is_equal(tensors):
    verdict = equality.judge(['mmdet'], Work(sizes=('1x72x104',)), tensors)['mmdet']
    assert verdict.reason is None, verdict.reason


def test_weights_reach_every_side_and_are_not_trivial(tensors):
    model = peers.build('mmswin-sdpa', SPEC, tensors, 'cpu')
    for name, value in model.state_dict().items():
        assert torch.equal(value, tensors[name]) and value.std() > 0, name


@pytest.mark.parametrize(
    'work, aligned, size',
    [
        (Work(sizes=('2x800x1344',)), False, (2, 800, 1344)),
        (Work(sizes=('2x800x1344',)), True, (2, 896, 1344)),
        (Work(sizes=('1x64x64',)), True, (1, 448, 448)),
        (Work(window_size=12, sizes=('1x800x1344',)), True, (1, 768, 1536)),
    ],
)
def test_sizes_are_aligned_for_those_who_pad_otherwise(work, aligned, size):
    assert equality.gate_size(work, aligned) == size


def test_unknown_names_list_what_there_is(tensors):
    with pytest.raises(ValueError, match="side 'swin' is unknown; choose from mmswin-auto, .*mmdet"):
        peers.build('swin', SPEC, tensors, 'cpu')
    with pytest.raises(ValueError, match="arch 'huge' is unknown"):
        peers.source_model(peers.Spec('huge', 7, 0.0))
