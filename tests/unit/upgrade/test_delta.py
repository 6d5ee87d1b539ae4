"""A file that says only what differs from another one."""

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmswin.upgrade.delta import differences
from mmswin.upgrade.render import assignment


@pytest.mark.parametrize(
    'settings',
    [
        dict(model=dict(type='A', depth=3, head=dict(type='B', width=1))),
        dict(model=dict(type='A', depth=2, head=dict(type='C', width=1))),
        dict(model=dict(type='A', depth=2, head=dict(type='B'))),
        dict(model=dict(type='A', depth=2, head=dict(type='B', width=1), neck=dict(type='N'))),
        dict(model=dict(type='A', depth=2, head=None), param_scheduler=[dict(type='S')]),
        dict(model=dict(type='A', depth=2, head=dict(type='B', width=1)), test_evaluator=dict(type='E')),
        dict(model=dict(type='A', depth=2, head=dict(type='B', width=1)), val_cfg=dict(type='V')),
    ],
)
def test_a_file_of_differences_says_the_whole(settings: dict[str, Any], tmp_path: Path) -> None:
    """Inheriting the base and adding the differences gives the settings."""
    base = tmp_path / 'base.py'
    base.write_text(
        "model = dict(type='A', depth=2, head=dict(type='B', width=1))\nparam_scheduler = [dict(type='S')]\n"
        "test_evaluator, val_cfg = [dict(type='E'), dict(type='F')], None\n"
    )
    found = differences(Config.fromfile(base), settings)
    leaf = tmp_path / 'leaf.py'
    leaf.write_text('\n'.join(["_base_ = './base.py'", *(assignment(name, value) for name, value in found.items())]))
    kept = dict(param_scheduler=[dict(type='S')], test_evaluator=[dict(type='E'), dict(type='F')], val_cfg=None)
    assert Config.fromfile(leaf).to_dict() == {**kept, **settings}
    assert 'param_scheduler' not in found
