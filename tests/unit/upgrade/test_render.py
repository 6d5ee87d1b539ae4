"""The text of a new file: what it says reads back equal, on lines that fit."""

from typing import Any

import pytest

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


INFINITE = (float('inf'), [-float('inf')])


@pytest.mark.parametrize(
    'value', [LONG, [LONG, LONG], (1, 2), [], 'text', 1e-05, dict(a=dict(b=[True, None])), INFINITE]
)
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
