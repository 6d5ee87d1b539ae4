"""The whole benchmark on a tiny image, its files, and its complaints."""

import json

import pytest

from mmswin.benchmark import cpu, peers, report, suite
from mmswin.benchmark.equality import Verdict
from mmswin.benchmark.results import SideResult, WorkResult
from mmswin.benchmark.work import Work


def _result():
    sides = {
        'mmswin-reference': SideResult('mmswin-reference', Verdict(1e-7, 1e-7), [2.0, 4.0], first=3.0, faults=10.0),
        'mmdet': SideResult('mmdet', Verdict(1.1e-7, 1e-7), [4.0, 8.0], first=5.0, faults=20.0),
        'timm': SideResult('timm', Verdict(None, None, 'timm cannot be imported')),
    }
    return WorkResult(Work(), 'default', sides)


def test_results_survive_json():
    result = _result()
    again = WorkResult.from_dict(json.loads(json.dumps(result.as_dict())))
    assert again == result
    assert result.as_dict()['ratios']['mmdet / mmswin-reference']['median'] == 2.0
    assert result.ratio('mmdet', 'timm') is None


def test_the_table_says_who_is_fastest_and_who_is_missing():
    lines = report.table(_result()).splitlines()
    assert lines[4].startswith('| mmswin-reference | 3000 ms | 2500 ms to 3500 ms | 2.00 (2.00 to 2.00) | 1 |')
    assert lines[5].startswith('| mmdet | 6000 ms |')
    assert lines[-1] == 'timm took no part: timm cannot be imported.'
    assert 'launches' not in lines[2]


@pytest.mark.slow
def test_a_benchmark_on_the_cpu(tmp_path):
    shown = []
    values = suite.run(
        [Work(mode='training', sizes=('1x32x32',))],
        ['mmswin-sdpa'],
        suite.Settings(2, 1, 1, ('tuned',)),
        done=lambda values, result: shown.append((len(values['results']), report.table(result))),
    )
    values = json.loads(json.dumps(values))
    (result,) = values['results']
    for side in result['sides'].values():
        assert len(side['seconds']) == 2 and min(side['seconds']) > 0
        assert side['saved_bytes'] > 0 and side['compilations'] == 0
    assert list(result['sides']) == ['mmswin-reference', 'mmswin-sdpa']
    assert result['ratios']['mmswin-reference / mmswin-sdpa']['count'] == 2
    assert shown[0][0] == 1 and shown[0][1] in report.document(values)
    report.plot(values, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 5000


def test_a_side_that_dies_is_named(tmp_path, monkeypatch):
    side = SideResult('no-such-side', Verdict(0.0, 0.0))
    (tmp_path / 'weights.pth').write_bytes(b'')
    with pytest.raises(cpu.SideFailed, match='no-such-side on Swin-T 1x32x32 float32 inference: '):
        cpu.run(Work(sizes=('1x32x32',)), [side], 'default', tmp_path / 'weights.pth', tmp_path, 1, 1, 1, print)


@pytest.mark.parametrize(
    'works, sides, settings, message',
    [
        ([], ['mmdet'], suite.Settings(), 'nothing to time'),
        ([Work()], ['mmdet2'], suite.Settings(), "side 'mmdet2' is unknown"),
        ([Work()], ['mmdet'], suite.Settings(allocators=('jemalloc',)), "allocator 'jemalloc' is unknown"),
        ([Work()], ['mmdet'], suite.Settings(rounds=0), '--rounds 0: give 1 or more'),
        ([Work()], ['mmdet'], suite.Settings(repetitions=0), '--repetitions 0: give 1 or more'),
        ([Work()], ['mmdet'], suite.Settings(threads=0), '--threads 0: give 1 or more'),
        ([Work(device='gpu')], ['mmdet'], suite.Settings(), '--device gpu: torch knows no such device'),
        ([Work(device='cuda:99')], ['mmdet'], suite.Settings(), '--device cuda:99: '),
    ],
)
def test_what_cannot_be_done_is_said_first(works, sides, settings, message):
    with pytest.raises(ValueError, match=message):
        suite.run(works, sides, settings)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'arch': 'huge'}, "arch 'huge' is unknown; choose one of 'tiny'"),
        ({'window_size': 0}, '--window-size 0: give 1 or more'),
        ({'drop_path_rate': 1.0}, '--drop-path-rate 1: give 0 or more, and less than 1'),
    ],
)
def test_work_that_nobody_can_do_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Work(**changes)


@pytest.fixture
def instant(monkeypatch):
    """A benchmark in which nothing is compared or timed; only its order and its words are real."""
    monkeypatch.setattr(suite, 'judge', lambda sides, *_: {side: Verdict(0.0, 1.0) for side in sides})
    monkeypatch.setattr(suite, '_time', lambda work, sides, *_: [side.seconds.append(1.0) for side in sides])


def test_parts_are_numbered_and_handed_on_as_they_come(instant):
    said, counts = [], []
    works = [Work(sizes=('1x32x32',), mode=mode) for mode in ('inference', 'training')]
    suite.run(works, ['mmdet'], suite.Settings(), said.append, lambda values, _: counts.append(len(values['results'])))
    assert counts == [1, 2, 3, 4]
    assert said[1] == 'part 2 of 4: Swin-T 1x32x32 float32 inference, allocator tuned'
    said.clear()
    suite.run(works[:1], ['mmdet'], suite.Settings(allocators=('default',)), said.append)
    assert said == ['Swin-T 1x32x32 float32 inference, allocator default']


def test_a_side_without_its_library_is_named_first(instant, monkeypatch):
    monkeypatch.setattr(peers, 'find_spec', lambda name: None if name == 'timm' else object())
    said = []
    values = suite.run([Work()], ['timm-fused', 'mmdet'], suite.Settings(allocators=('default',)), said.append)
    assert said[0] == 'timm-fused takes no part: timm is not installed'
    assert values['results'][0]['sides']['timm-fused']['verdict']['reason'] == 'timm is not installed'
    with pytest.raises(ValueError, match=r'timm-fused \(timm is not installed\).*`make peers`'):
        suite.run([Work()], ['timm-fused'], suite.Settings())
