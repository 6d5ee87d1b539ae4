"""The tables of docs/model-zoo.md, as docs/model_zoo.py writes them."""

import dataclasses

import pytest

import model_zoo
from mmswin.analysis import paper
from mmswin.analysis.paper import Comparison, Row
from mmswin.errors import RunError

ROW = Row(
    '2b', 'Cascade Mask R-CNN', 'Swin-T', 'cascade', {'box_ap': 50.5}, 'paper', (800, 1280), False, params=86, flops=745
)


def test_document(tmp_path):
    (tmp_path / 'more.py').write_text('# What it is,\n# in words. And more.\n\n# not this\nmodel = None\n')
    table = paper.Table('2b', 'A title', 'paper, table 2', (ROW,))
    odd = dataclasses.replace(
        ROW, config=None, why_none='not in mmdet', params=None, flops=None, accuracy={'mask_ap': 44.0, 'box_ap': 50.0}
    )
    known = dataclasses.replace(ROW, known={'flops': 'another counter'}, note='old', reproduced=True)
    text = model_zoo.render(
        [table],
        [Comparison(ROW, 85.63, 85.63, 745.46, 741.0), Comparison(odd), Comparison(known, 85.63, 85.63, 800.0, 790.0)],
        tmp_path,
        tmp_path.parent / 'document.md',
    )
    assert text.splitlines() == [
        '**A title** (paper, table 2)',
        '',
        '| method | backbone | configuration | box AP | mask AP | params M | FLOPs G | reproduced |',
        '| --- | --- | --- | --- | --- | --- | --- | --- |',
        f'| Cascade Mask R-CNN | Swin-T | [cascade]({tmp_path.name}/cascade.py) | 50.5 | | 86 (85.6) | 745 (745.5) '
        '| no |',
        '| Cascade Mask R-CNN | Swin-T | none<sup>1</sup> | 50.0 | 44.0 | | | no |',
        f'| Cascade Mask R-CNN | Swin-T | [cascade]({tmp_path.name}/cascade.py)<sup>2</sup><sup>3</sup> | 50.5 | '
        '| 86 (85.6) | 745 (800.0) | yes |',
        '',
        '<sup>1</sup> not in mmdet.<br>',
        '<sup>2</sup> FLOPs: another counter.<br>',
        '<sup>3</sup> old.',
        '',
        '**More configurations**',
        '',
        '| configuration | |',
        '|---|---|',
        f'| [more]({tmp_path.name}/more.py) | What it is, in words |',
    ]


def test_only_what_stands_between_the_markers_changes():
    text = f'before\n{model_zoo.BEGIN}\nold\n{model_zoo.END}\nafter\n'
    new = model_zoo.replace_tables(text, 'new')
    assert new == f'before\n{model_zoo.BEGIN}\n\nnew\n\n{model_zoo.END}\nafter\n'
    assert model_zoo.replace_tables(new, 'new') == new
    for wrong in ('', model_zoo.BEGIN, model_zoo.END + model_zoo.BEGIN, text + text):
        with pytest.raises(RunError, match='each once'):
            model_zoo.replace_tables(wrong, 'new')
