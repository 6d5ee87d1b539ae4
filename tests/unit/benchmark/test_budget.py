"""Pieces within a budget: their order, what is left out, what fails or hangs, and that nothing done gets lost."""

import importlib
import os
import sys

import pytest

from mmswin.benchmark import budget
from mmswin.benchmark.budget import Outcome, Piece

# A module of its own: another process imports it.
MODULE = """
import os, time
from mmswin.benchmark.budget import LeftOut

def do(kind, arguments):
    if kind == 'raise':
        raise RuntimeError('CUDA error: an illegal memory access\\nand more')
    if kind == 'die':
        os._exit(7)
    if kind == 'hang':
        time.sleep(60)
    if kind == 'cannot':
        raise LeftOut('no room')
    return {'process': os.getpid(), **arguments}
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / 'pieces_of_a_test.py').write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    do = importlib.import_module('pieces_of_a_test').do

    def run(pieces, seconds=None, **options):
        seen = []
        outcomes = budget.run(pieces, do, seconds, lambda done: seen.append([one.name for one in done]), **options)
        assert seen == [[piece.name for piece in pieces[: n + 1]] for n in range(len(pieces))]
        return outcomes

    yield run
    sys.modules.pop('pieces_of_a_test')


def test_what_goes_wrong_is_named_and_the_rest_is_done(run):
    kinds = ['fine', 'raise', 'fine', 'die', 'cannot', 'fine', 'fine']
    said = []
    outcomes = run([Piece(f'{n} {kind}', kind, {'n': n}, 1.0) for n, kind in enumerate(kinds)], progress=said.append)
    assert [one.status for one in outcomes] == ['done', 'failed', 'done', 'failed', 'left out', 'done', 'done']
    assert outcomes[1].reason == 'RuntimeError: CUDA error: an illegal memory access'
    assert outcomes[3].reason == 'its process died with exit status 7'
    assert outcomes[4].reason == 'no room'
    assert said[1:3] == ['part 2 of 7: 1 raise (about 1 s)', '1 raise: failed: ' + outcomes[1].reason]
    assert [outcomes[n].result['n'] for n in (0, 2, 5, 6)] == [0, 2, 5, 6]
    # Those that follow one another without a failure share a process, and a failure ends it.
    processes = [outcomes[n].result['process'] for n in (0, 2, 5, 6)]
    assert processes[2] == processes[3] and len(set(processes)) == 3 and os.getpid() not in processes


def test_one_that_hangs_is_stopped(run):
    outcomes = run([Piece('hang', 'hang', {}, 0.1), Piece('next', 'fine', {}, 0.1)], least_limit=0.5)
    assert outcomes[0].status == 'failed' and outcomes[0].reason.startswith('stopped after 0 s; it was to take about 0')
    assert outcomes[1].status == 'done'


def test_what_does_not_fit_is_left_out_and_a_shorter_one_is_done(run):
    outcomes = run([Piece('long', 'fine', {}, 1000.0), Piece('short', 'fine', {}, 1.0)], 100.0)
    assert [one.status for one in outcomes] == ['left out', 'done']
    assert 'it takes about 1000 s, and 100 s of the budget were left' in outcomes[0].reason


def test_what_an_earlier_run_has_done_stays(run):
    earlier = [Outcome('one', 'done', 5.0, result={'n': 1}), Outcome('two', 'failed', 1.0, 'died')]
    outcomes = run([Piece('one', 'die', {}, 1.0), Piece('two', 'fine', {'n': 2}, 1.0)], earlier=earlier)
    assert outcomes[0] == earlier[0]
    assert outcomes[1].status == 'done' and outcomes[1].result['n'] == 2
