"""The text of a new file: what it says reads back equal, on lines that fit."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmswin.upgrade.delta import differences
from mmswin.upgrade.render import WIDTH, Name, assignment

LONG = {
    'type': 'A' * 40,
    'sizes': [(480 + 32 * i, 1333) for i in range(20)],
    'nothing': None,
    'empty': {},
    'one': (1,),
    'steps': [dict(type='B' * 60, prob=0.5), dict(type='C', classes=('x' * 50, 'y' * 50, 'z' * 50))],
    'odd keys': {'backbone.norm': dict(decay_mult=0.0), 'a-b': 1e-06, 'w' * 60: "it's"},
}


@pytest.mark.parametrize('value', [LONG, [LONG, LONG], (1, 2), [], 'text', 1e-05, dict(a=dict(b=[True, None]))])
def test_it_reads_back_equal(value: Any) -> None:
    names: dict[str, Any] = {}
    text = assignment('value', value)
    exec(text, names)
    assert names['value'] == value
    assert all(len(line) <= max(WIDTH, 120) for line in text.splitlines())


def test_short_values_take_one_line() -> None:
    assert assignment('a', dict(type='B', c=(1, 2))) == "a = dict(type='B', c=(1, 2))"


def test_a_name_has_no_quotes() -> None:
    assert assignment('a', dict(pipeline=Name('train_pipeline'))) == 'a = dict(pipeline=train_pipeline)'


@pytest.mark.parametrize(
    'settings',
    [
        dict(model=dict(type='A', depth=3, head=dict(type='B', width=1))),
        dict(model=dict(type='A', depth=2, head=dict(type='C', width=1))),
        dict(model=dict(type='A', depth=2, head=dict(type='B'))),
        dict(model=dict(type='A', depth=2, head=dict(type='B', width=1), neck=dict(type='N'))),
        dict(model=dict(type='A', depth=2, head=None), param_scheduler=[dict(type='S')]),
    ],
)
def test_a_file_of_differences_says_the_whole(settings: dict[str, Any], tmp_path: Path) -> None:
    """Inheriting the base and adding the differences gives the settings."""
    base = tmp_path / 'base.py'
    base.write_text(
        "model = dict(type='A', depth=2, head=dict(type='B', width=1))\nparam_scheduler = [dict(type='S')]\n"
    )
    found = differences(Config.fromfile(base), settings)
    leaf = tmp_path / 'leaf.py'
    leaf.write_text('\n'.join(["_base_ = './base.py'", *(assignment(name, value) for name, value in found.items())]))
    assert Config.fromfile(leaf).to_dict() == {'param_scheduler': [dict(type='S')], **settings}
    assert 'param_scheduler' not in found
