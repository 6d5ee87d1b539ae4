"""Comparisons and counts as text and as JSON."""

import dataclasses
import json

from mmswin.analysis import reports
from mmswin.analysis.counting import MultiplyAdds
from mmswin.analysis.paper import Comparison, Row
from mmswin.analysis.protocol import Complexity, Part

ROW = Row(
    '2b', 'Cascade Mask R-CNN', 'Swin-T', 'cascade', {'box_ap': 50.5}, 'paper', (800, 1280), False, params=86, flops=745
)


def test_text_names_what_is_off_and_why():
    text = reports.paper_text(
        [
            Comparison(ROW, 85.63, 85.63, 745.46, 741.0),
            Comparison(ROW, 90.0, 90.0, 745.46, 741.0),
            Comparison(dataclasses.replace(ROW, known={'flops': 'another counter'}), 86.0, 86.0, 800.0, 790.0),
            Comparison(dataclasses.replace(ROW, config=None, why_none='not in mmdet')),
        ]
    )
    lines = text.splitlines()
    assert lines[1].split() == [
        '2b',
        'Cascade',
        'Mask',
        'R-CNN,',
        'Swin-T',
        '86',
        '85.63',
        '-0.37',
        '745',
        '745.5',
        '+0.06',
        'ok',
    ]
    assert [line.split()[-1] for line in lines[2:5]] == ['OFF', 'known', 'configuration']
    for said in ('params is off by more than the tolerance', 'flops: another counter', 'not in mmdet'):
        assert said in text
    assert lines[-1] == '1 rows agree, 1 are off for a known reason, 1 are off'


def test_json_has_the_row_and_what_was_counted():
    (entry,) = json.loads(json.dumps(reports.paper_json([Comparison(ROW, 85.63, 85.5, 745.46, 741.0)])))
    assert entry['config'] == 'cascade' and entry['accuracy'] == {'box_ap': 50.5} and entry['verdict'] == 'ok'
    assert entry['counted'] == {'params': 85.63, 'trainable': 85.5, 'flops': 745.46, 'computed': 741.0}


def test_parts_and_their_sum():
    parts = [
        Part('backbone', 2_000_000, 1_000_000, MultiplyAdds(3 * 10**9, 10**9, 5 * 10**8, 0)),
        Part('auxiliary_head', 500_000, 500_000, None),
    ]
    rows = [line.split() for line in reports.complexity_text(Complexity((64, 128), parts)).splitlines()]
    assert ['backbone', '2.000', '1.000', '3.00', '1.00', '0.50', '0.00', '4.50'] in rows
    assert ['auxiliary_head', '0.500', '0.500', '-', '-', '-', '-', '-'] in rows
    assert ['all', '2.500', '1.500', '3.00', '1.00', '0.50', '0.00', '4.50'] in rows
    small = Complexity((64, 64), [Part('backbone', 2_000_000, 0, MultiplyAdds(160_120_000, 960))])
    text = reports.complexity_text(small)
    assert '160.12' in text and 'total M' in text and '160.1 M' in text
