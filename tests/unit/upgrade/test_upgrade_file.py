"""From file to file: nothing is lost that was there, and a base shortens what is written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from mmswin.engine.options import top_level_names
from mmswin.errors import RunError
from mmswin.upgrade.upgrade_file import upgrade_file


def test_strict_writes_only_what_is_complete(old_detector: Callable[..., Path], tmp_path: Path) -> None:
    new = tmp_path / 'new.py'
    text, messages, complete = upgrade_file(str(old_detector(seed=3)), str(new), strict=True)
    assert (text, complete, new.exists()) == (None, False, False)
    assert messages[-1] == '1 entry was not translated, so with --strict nothing was written'
    _, messages, complete = upgrade_file(str(old_detector(seed=3)), str(new))
    assert not complete and messages[-1] == f'{new} written; 1 entry was not translated, see above'
    assert '# - seed = 3: ' in new.read_text()
    _, messages, complete = upgrade_file(str(old_detector()), str(new), strict=True, overwrite=True)
    assert complete and messages[-1] == f'{new} written: all was translated'
    assert 'NOT TRANSLATED' not in new.read_text()


def test_without_a_name_the_text_comes_back(old_detector: Callable[..., Path]) -> None:
    text, messages, complete = upgrade_file(str(old_detector()))
    assert complete and text.startswith('# Upgraded from old.py') and text.endswith('resume = False\n')
    assert messages[-1] == 'done: all was translated'


@pytest.mark.parametrize(
    ('target', 'words'),
    [
        ('there.py', 'there.py exists; choose another name or add --overwrite'),
        ('old.py', 'is the old config itself'),
        ('base.py', 'is the base itself'),
        ('', 'is a directory'),
        ('nowhere/new.py', 'is no directory'),
    ],
)
def test_a_target_that_cannot_be(target: str, words: str, old_detector: Callable[..., Path], tmp_path: Path) -> None:
    old = old_detector()
    base = tmp_path / 'base.py'
    for path in (tmp_path / 'there.py', base):
        path.write_text("default_scope = 'mmdet'\n")
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=words):
        upgrade_file(str(old), str(tmp_path / target), base=str(base), overwrite=target in ('old.py', 'base.py'))
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


def test_only_what_differs_from_a_base(
    old_detector: Callable[..., Path], old_settings: dict[str, Any], tmp_path: Path
) -> None:
    """A file of a few lines that says the same as the whole one."""
    whole, leaf = tmp_path / 'whole.py', tmp_path / 'sub' / 'leaf.py'
    leaf.parent.mkdir()
    upgrade_file(str(old_detector()), str(whole))
    old_settings['model']['backbone']['drop_path_rate'] = 0.4
    changed = old_detector(model=old_settings['model'], total_epochs=5)
    _, _, complete = upgrade_file(str(changed), str(leaf), base=str(whole))
    lines = [line for line in leaf.read_text().splitlines() if not line.startswith('#')]
    assert complete and lines == [
        "_base_ = '../whole.py'",
        'model = dict(backbone=dict(drop_path_rate=0.4))',
        'train_cfg = dict(max_epochs=5)',
    ]
    text, _, _ = upgrade_file(str(changed))
    full = tmp_path / 'full.py'
    full.write_text(text)
    said = Config.fromfile(leaf).to_dict()
    expected = {key: value for key, value in Config.fromfile(full).to_dict().items() if key in top_level_names()}
    assert len(expected) > 15 and {key: said[key] for key in expected} == expected


@pytest.mark.parametrize(
    ('base', 'words'),
    [(None, 'does not exist'), ('model = (\n', 'cannot be read'), ("default_scope = 'mmseg'\n", 'is for mmseg')],
)
def test_a_base_that_cannot_be(base: str | None, words: str, old_detector: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / 'base.py'
    if base is not None:
        path.write_text(base)
    with pytest.raises(RunError, match=words):
        upgrade_file(str(old_detector()), base=str(path))
