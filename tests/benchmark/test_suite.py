"""The whole benchmark on a tiny image, its files, and its complaints."""

import json

import pytest

from mmswin.benchmark import cpu, report, suite
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
        [Work(mode='training', sizes=('1x32x32',))], ['mmswin-sdpa'], suite.Settings(2, 1, 1, ('tuned',)),
        done=lambda result: shown.append(report.table(result)))
    values = json.loads(json.dumps(values))
    (result,) = values['results']
    for side in result['sides'].values():
        assert len(side['seconds']) == 2 and min(side['seconds']) > 0
        assert side['saved_bytes'] > 0 and side['compilations'] == 0
    assert list(result['sides']) == ['mmswin-reference', 'mmswin-sdpa']
    assert result['ratios']['mmswin-reference / mmswin-sdpa']['count'] == 2
    assert shown and shown[0] in report.document(values)
    report.plot(values, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 5000


def test_a_side_that_dies_is_named(tmp_path, monkeypatch):
    side = SideResult('no-such-side', Verdict(0.0, 0.0))
    (tmp_path / 'weights.pth').write_bytes(b'')
    with pytest.raises(cpu.SideFailed, match='no-such-side on Swin-T 1x32x32 float32 inference: '):
        cpu.run(Work(sizes=('1x32x32',)), [side], 'default', tmp_path / 'weights.pth', tmp_path, 1, 1, 1, print)


@pytest.mark.parametrize('works, sides, settings, message', [
    ([], ['mmdet'], suite.Settings(), 'nothing to time'),
    ([Work()], ['mmdet2'], suite.Settings(), "side 'mmdet2' is unknown"),
    ([Work()], ['mmdet'], suite.Settings(allocators=('jemalloc',)), "allocator 'jemalloc' is unknown"),
])
def test_what_cannot_be_done_is_said_first(works, sides, settings, message):
    with pytest.raises(ValueError, match=message):
        suite.run(works, sides, settings)
