"""The checks and clocks of the attention kernels, which are for a GPU, on small maps in Triton's interpreter."""

import sys

import pytest
import torch

if sys.platform != 'linux':
    pytest.skip('Triton has wheels for Linux alone', allow_module_level=True)

from mmswin.benchmark import attention
from mmswin.ops import window_attention as room
from mmswin.ops.window_attention.triton import backend as triton_backend

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
PADDED = [1, 2, 3, [2, 2], [0, 0], 1]
# Rows and columns are padded, and the last whole row of windows is not the map's end.
LARGE = [2, 9, 5, [2, 3], [1, 1], 1]


def _wrong_somewhere(monkeypatch, change):
    attend = triton_backend.attend
    monkeypatch.setitem(room.BACKENDS, 'triton', lambda *inputs: change(attend(*inputs)))


def test_the_kernels_agree_and_both_errors_are_shown():
    found = attention.correctness({'device': DEVICE, 'cases': [PADDED], 'dtypes': ['float64', 'float32']})
    assert found['agrees'] and [row['dtype'] for row in found['cases']] == ['float64', 'float32']
    for row in found['cases']:
        assert row['case'] == '1x2x3, 1 heads, windows 2x2 not shifted' and len(row['errors']) == 4
        assert all(0 <= ours < 1e-5 for ours, _ in row['errors'].values())
    assert found['cases'][1]['errors']['values'][0] > 1e-9


def test_kernels_that_are_wrong_are_seen(monkeypatch):
    _wrong_somewhere(monkeypatch, lambda out: out * 1.001)
    found = attention.correctness({'device': DEVICE, 'cases': [PADDED], 'dtypes': ['float32']})
    assert not found['agrees'] and found['cases'][0]['errors']['values'][0] == pytest.approx(1e-3, rel=0.1)


def test_a_band_of_a_large_map_is_that_of_the_whole():
    order = {'device': DEVICE, 'case': LARGE, 'dtype': 'float64', 'bands': 2}
    found = attention.large_map(order)
    assert found['agrees'], found
    assert found['numbers'] == 2 * 9 * 5 * 96
    assert found['first_compared'] == (9 + 5) * 5 * 96  # rows 5 to 8 of the second image


def test_a_band_that_is_elsewhere_is_seen(monkeypatch):
    _wrong_somewhere(monkeypatch, lambda out: out.roll(1, 1))
    assert not attention.large_map({'device': DEVICE, 'case': LARGE, 'dtype': 'float32', 'bands': 2})['agrees']


def test_kernels_are_timed_beside_copies():
    order = {'device': DEVICE, 'cases': [PADDED], 'dtype': 'float32', 'rounds': 2, 'replays': 1}
    found = attention.kernel(order)['kernels']
    assert [row['direction'] for row in found] == ['forward', 'backward']
    # q, k, v and the output of 6 tokens with 32 channels; backward also the output's gradient and three more.
    assert [row['bytes'] for row in found] == [6 * 32 * 4 * 4, 6 * 32 * 4 * 7]
    for row in found:
        assert len(row['seconds']['kernel']) == len(row['seconds']['copy']) == 2
        assert row['rate'] == pytest.approx(row['bytes'] / sorted(row['seconds']['kernel'])[0], rel=1)
        assert row['share_of_copy'] > 0
    assert sorted(found[0]['others']) == ['reference', 'sdpa']
    assert min(found[0]['others'].values()) > 0
    assert 'others' not in found[1]


def test_ceilings_are_rates():
    found = attention.ceilings({'device': DEVICE, 'copied': 2**16, 'side': 32})
    assert found['copy'] > 1e6 and found['product'] > 1e3
