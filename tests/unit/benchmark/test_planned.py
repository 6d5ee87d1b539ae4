"""Presets: what they hold, the file after every piece, going on with it, and pieces of it on the CPU."""

import json

import pytest
import torch

from mmswin.benchmark import peers, pieces, planned, presets, report
from mmswin.benchmark.budget import Piece
from mmswin.benchmark.equality import Verdict
from mmswin.benchmark.results import SideResult, WorkResult
from mmswin.benchmark.work import Work
from mmswin.errors import RunError


@pytest.mark.parametrize('name', presets.PRESETS)
def test_presets_are_plain_and_name_what_exists(name):
    made = presets.PRESETS[name]()
    assert len({piece.name for piece in made}) == len(made)
    for piece in made:
        assert piece.kind in pieces.KINDS and piece.seconds > 0
        assert json.dumps(piece.arguments)  # plain values
        if piece.kind == 'work':
            Work.from_dict(piece.arguments['work'])
            for side in piece.arguments['sides']:
                peers.check_name(side)


def test_correctness_and_the_headline_come_first_and_fit():
    made = presets.gpu()
    kinds = [piece.kind for piece in made]
    assert kinds.index('correctness') < kinds.index('kernel') < kinds.index('work')
    headline = [n for n, piece in enumerate(made) if piece.arguments.get('work', {}).get('sizes') == presets.HEADLINE]
    others = [n for n, piece in enumerate(made) if piece.kind == 'work' and n not in headline]
    assert min(headline) < min(others)
    through_compiled = next(n for n, piece in enumerate(made) if piece.name == 'Swin-T compiled, training')
    assert sum(piece.seconds for piece in made[: through_compiled + 1]) < 540
    assert 2903 * 2910 * 3 * 96 > 2**31


def test_the_cpus_preset_has_both_allocators_and_all_sides():
    made = presets.cpu(threads=2)
    assert [piece.arguments['settings']['allocators'] for piece in made] == [['default'], ['tuned']] * 3
    assert {tuple(piece.arguments['sides']) for piece in made} == {presets.CPU_SIDES}


def _fake_work():
    sides = {
        'mmswin-triton': SideResult('mmswin-triton', Verdict(1e-3, 1e-3), [1e-3], gpu_seconds=1e-3, launches=70),
        'mmdet': SideResult('mmdet', Verdict(1e-3, 1e-3), [4e-3], gpu_seconds=4e-3, launches=588),
    }
    return WorkResult(Work(precision='bfloat16'), 'default', sides).as_dict()


def _plan(sides=('mmswin-reference',)):
    settings = {'rounds': 1, 'repetitions': 1, 'threads': 1, 'allocators': ['default']}
    work = {'work': Work(sizes=('1x32x32',)).as_dict(), 'sides': list(sides), 'settings': settings}
    return [
        Piece(planned.CEILINGS, 'ceilings', {'device': 'cpu', 'copied': 2**16, 'side': 32}, 1.0),
        Piece('tiny', 'work', work, 100.0),
        Piece('endless', 'work', work, 1e6),
    ]


def test_shares_of_the_floor_follow_from_the_copy():
    result = _fake_work()
    shares = planned.shares_of_floor([result], 1e12)
    assert shares[0]['share'] == pytest.approx(4 * shares[1]['share'])
    assert 2 < shares[0]['share'] < 5  # 3.9 GB at 1 TB/s would take 3.9 ms
    assert planned.shares_of_floor([result], None) == []


@pytest.mark.slow
def test_a_plan_on_the_cpu_and_going_on_with_it(tmp_path):
    out, lines = tmp_path / 'plan.json', []
    values = planned.run('gpu', _plan(), 'cpu', 500.0, out, lines.append)
    assert json.loads(out.read_text()) == json.loads(json.dumps(values))
    assert [(one['name'], one['status']) for one in values['pieces']] == [
        ('machine', 'done'),
        (planned.CEILINGS, 'done'),
        ('tiny', 'done'),
        ('endless', 'left out'),
    ]
    assert values['results'][0]['sides']['mmswin-reference']['seconds'] and values['machine']['versions']['torch']
    text = out.with_suffix('.md').read_text()
    assert 'Swin-T 1x32x32 float32 inference' in text and '| endless | left out | 0 | it takes about 1000000 s' in text
    report.plot(values, tmp_path / 'plan.png')
    with pytest.raises(RunError, match="is of the preset 'gpu' and not 'cpu'"):
        planned.run('cpu', _plan(), 'cpu', None, out, lines.append, planned.read(out))
    again = planned.run('gpu', _plan(['mmdet']), 'cpu', 500.0, out, lines.append, planned.read(out))
    assert again['results'] == json.loads(json.dumps(values['results']))  # kept, though the sides are others now


def test_another_file_is_no_plan(tmp_path):
    (tmp_path / 'other.json').write_text('{"results": []}')
    with pytest.raises(RunError, match='other.json is no file of a preset'):
        planned.read(tmp_path / 'other.json')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_device_that_is_missing_is_said_first(tmp_path):
    with pytest.raises(RunError, match='--device cuda: this torch .* has no CUDA device; the preset cpu'):
        planned.run('gpu', _plan(), 'cuda', 60.0, tmp_path / 'plan.json', print)
    assert not (tmp_path / 'plan.json').exists()


@pytest.mark.slow
def test_warming_names_what_fails():
    work = Work(sizes=('1x32x32',)).as_dict()
    found = pieces.warm({'orders': [['no-such-side', work]], 'processes': 2, 'threads': 1})['first']
    assert list(found) == ['no-such-side on Swin-T 1x32x32 float32 inference']
    assert 'no-such-side' in str(*found.values())


def test_an_unfinished_preset_is_known_as_such(tmp_path):
    path = tmp_path / 'cpu.json'
    names = ['machine', *(piece.name for piece in presets.cpu())]
    outcomes = [{'name': name, 'status': 'done', 'seconds': 1.0, 'reason': None, 'result': {}} for name in names]
    path.write_text(json.dumps({'preset': 'cpu', 'results': [], 'pieces': outcomes}))
    assert planned.unfinished(path) is None
    path.write_text(json.dumps({'preset': 'cpu', 'results': [], 'pieces': outcomes[:-1]}))
    assert planned.unfinished(path) == 'cpu'
    path.write_text(json.dumps({'results': []}))
    assert planned.unfinished(path) is None
