"""The file of tables, the comparison with it, and the model zoo made from both."""

import dataclasses
from pathlib import Path

import pytest

import model_zoo
from mmswin.analysis import paper
from mmswin.analysis.paper import Comparison, Row
from mmswin.analysis.protocol import measure
from mmswin.engine.configure import load_config
from mmswin.errors import RunError

ROOT = Path(__file__).resolve().parents[3]
TABLES = ROOT / 'configs' / 'paper_tables.yaml'
ROW = Row(
    '2b', 'Cascade Mask R-CNN', 'Swin-T', 'cascade', {'box_ap': 50.5}, 'paper', (800, 1280), False, params=86, flops=745
)
ONE_ROW = """
2a:
  title: a title
  source: a source
  shape: [800, 1280]
  rows:
    - {method: ATSS, backbone: R-50, config: atss, accuracy: {box_ap: 43.5}, reproduced: false}
"""


@pytest.fixture(scope='module')
def tables() -> list[paper.Table]:
    return paper.load_tables(TABLES)


@pytest.fixture(scope='module')
def comparisons(tables: list[paper.Table]) -> list[Comparison]:
    """The whole table, counted once for this module."""
    return paper.compare([row for table in tables for row in table.rows], TABLES.parent)


def test_the_file_has_every_row(tables):
    assert {table.name: len(table.rows) for table in tables} == {
        '1a': 4,
        '1b': 3,
        'v2_released': 10,
        'mlp_released': 4,
        'cifar100': 1,
        '2a': 8,
        '2b': 7,
        '2c': 3,
        'coco_released': 9,
        '3': 6,
        'ade_released': 5,
        '4': 12,
    }


def test_every_configuration_exists_and_has_one_published_size(tables):
    published: dict[tuple, set] = {}
    for table in tables:
        for row in table.rows:
            if row.config:
                assert (TABLES.parent / f'{row.config}.py').is_file(), row
                if row.params and row.flops:
                    published.setdefault((row.config, row.shape), set()).add((row.params, row.flops))
    assert all(len(figures) == 1 for figures in published.values())


@pytest.mark.slow
def test_the_paper_s_parameters_and_flops(comparisons):
    """Every row is within the tolerance, or the table says why not; most FLOPs agree to the published digit."""
    problems = {one.row.label: one.problems for one in comparisons if one.problems}
    assert not problems
    compared = [one for one in comparisons if one.flops_difference is not None]
    assert len(compared) >= 31
    assert sum(one.verdict == 'ok' for one in compared) >= 27
    assert sum(abs(one.flops - one.row.flops) < 0.55 for one in compared) >= 24


@pytest.mark.slow
@pytest.mark.parametrize(
    ('config', 'shape', 'window', 'flops', 'digits'),
    [
        ('cascade_mask_rcnn_swin_t_coco', (800, 1280), 7, 742.36, 2),
        ('upernet_swin_t_ade20k', (512, 512), 7, 236.08, 2),
        ('upernet_swin_s_ade20k', (512, 512), 7, 259, 0),
        ('upernet_swin_b_in22k_ade20k_640x640', (640, 640), 12, 471, 0),
        ('upernet_swin_l_in22k_ade20k_640x640', (640, 640), 12, 647, 0),
        ('upernet_swin_l_in22k_ade20k_640x640', (640, 2560), 7, 2468, 0),
    ],
)
def test_what_others_counted_with_the_authors_tools(config, shape, window, flops, digits):
    """Their counter does not see attention's products; all else agrees to the digit.

    Sources, in order: Swin-Transformer-Object-Detection, issue 34; Swin-Transformer-Semantic-Segmentation, issue 16;
    MaskFormer, arXiv 2107.06278, as in its issue 28 (three figures); ConvNeXt, arXiv 2201.03545, table 4.
    """
    cfg = load_config(str(TABLES.parent / f'{config}.py'), {'model.backbone.window_size': window}, None)
    cost = measure(cfg, shape).cost
    assert round((cost.published - cost.products) / 1e9, digits) == flops


@pytest.mark.slow
def test_the_model_zoo_is_current(tables, comparisons):
    """After a change of a configuration or of the tables: make docs."""
    zoo = ROOT / 'docs' / 'model-zoo.md'
    text = zoo.read_text(encoding='utf-8')
    assert model_zoo.replace_tables(text, model_zoo.render(tables, comparisons, TABLES.parent, zoo)) == text


@pytest.mark.parametrize(
    ('params', 'flops', 'known', 'verdict', 'problems'),
    [
        (85.6, 745.4, {}, 'ok', []),
        (86.5, 752.4, {}, 'ok', []),
        (86.6, 745.4, {}, 'OFF', ['params is off by more than the tolerance']),
        (86.0, 752.5, {}, 'OFF', ['flops is off by more than the tolerance']),
        (86.0, 737.5, {'flops': 'why'}, 'known', []),
        (84.0, 737.5, {'flops': 'why'}, 'OFF', ['params is off by more than the tolerance']),
        (86.0, 745.0, {'flops': 'why'}, 'OFF', ['flops is within the tolerance, yet the table explains a deviation']),
    ],
)
def test_verdicts(params, flops, known, verdict, problems):
    one = Comparison(dataclasses.replace(ROW, known=known), params, params, flops, flops)
    assert one.verdict == verdict
    assert one.problems == problems


def test_rows_without_figures_or_configuration():
    bare = Comparison(dataclasses.replace(ROW, params=None, flops=None), 85.6, 85.6, 745.0, 740.0)
    assert (bare.verdict, bare.problems, bare.flops_difference) == ('not published', [], None)
    none = Comparison(dataclasses.replace(ROW, config=None, why_none='not in mmdet', known={'flops': 'why'}))
    assert (none.verdict, none.problems) == ('no configuration', [])


@pytest.mark.parametrize(
    ('old', 'new', 'said'),
    [
        ('method: ATSS', 'methode: ATSS', 'unknown methode'),
        ('reproduced: false', 'fps: 3', 'reproduced is missing'),
        ('box_ap: 43.5', 'box: 43.5', 'keys other than box_ap'),
        ('config: atss', 'config: null', 'give a config, or null and why_none'),
        ('config: atss', 'config: atss, why_none: x', 'give a config, or null and why_none'),
        ('config: atss', 'config: atss, known: {fps: x}', 'known explains params or flops, not fps'),
        ('  title: a title\n', '', 'table 2a has no title'),
        ('  rows:', '  lines:', 'expected tables by name'),
        ('rows:', 'rows: [', 'cannot be read'),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, old, new, said):
    path = tmp_path / 'tables.yaml'
    assert old in ONE_ROW
    path.write_text(ONE_ROW.replace(old, new, 1))
    with pytest.raises(RunError, match=said):
        paper.load_tables(path)
    path.write_text(ONE_ROW)
    assert paper.load_tables(path)[0].rows[0].shape == (800, 1280)


def test_selection(tables):
    assert {row.table for row in paper.select(tables, '2b')} == {'2b'}
    assert {row.backbone for row in paper.select(tables, None, 'DEIT')} == {'DeiT-S'}
    assert [row.config for row in paper.select(tables, '3', 'upernet_swin_?_ade20k')] == [
        'upernet_swin_t_ade20k',
        'upernet_swin_s_ade20k',
    ]
    with pytest.raises(RunError, match="no table '5'; the tables are 1a"):
        paper.select(tables, '5')
    with pytest.raises(RunError, match="matches 'resnest'"):
        paper.select(tables, '2a', 'resnest')


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(RunError, match='^cascade: config .*cascade.py does not exist'):
        paper.compare([ROW], tmp_path)
