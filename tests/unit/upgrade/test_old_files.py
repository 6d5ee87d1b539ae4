"""Reading old files: inheritance is followed, and what cannot be read is said in one line."""

from pathlib import Path

import pytest

from mmswin.errors import RunError
from mmswin.upgrade.old_files import read_old

LEAF = """
_base_ = ['../_base_/model.py', '../_base_/run.py']
model = dict(backbone=dict(depth=101))
optimizer = dict(_delete_=True, type='AdamW', lr=1e-4)
"""
MODEL = "model = dict(type='RetinaNet', backbone=dict(type='ResNet', depth=50))\n"
RUN = "optimizer = dict(type='SGD', lr=0.02, momentum=0.9)\ntotal_epochs = 12\n"


def tree(folder: Path, leaf: str = LEAF, model: str = MODEL) -> Path:
    for name, text in (('configs/_base_/model.py', model), ('configs/_base_/run.py', RUN), ('configs/x/leaf.py', leaf)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / 'configs' / 'x' / 'leaf.py'


def test_inheritance(tmp_path: Path) -> None:
    assert read_old(tree(tmp_path)) == dict(
        model=dict(type='RetinaNet', backbone=dict(type='ResNet', depth=101)),
        optimizer=dict(type='AdamW', lr=1e-4),
        total_epochs=12,
    )


def message(path: Path) -> str:
    with pytest.raises(RunError) as caught:
        read_old(path)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_a_missing_base(tmp_path: Path) -> None:
    path = tree(tmp_path)
    (tmp_path / 'configs/_base_/run.py').unlink()
    text = message(path)
    assert "'../_base_/run.py' is missing" in text
    assert str(tmp_path / 'configs/_base_/run.py') in text and 'where it stands in the old repository' in text


def test_a_missing_base_of_a_base(tmp_path: Path) -> None:
    path = tree(tmp_path, model="_base_ = './deeper.py'\n" + MODEL)
    text = message(path)
    assert "'./deeper.py' is missing" in text and 'model.py: its _base_' in text and 'give leaf.py' in text


def test_a_forgotten_comma(tmp_path: Path) -> None:
    """One of the released files has it, and cannot be read by anything."""
    assert 'put a comma between them' in message(tree(tmp_path, LEAF.replace("model.py',", "model.py'")))


@pytest.mark.parametrize(
    ('leaf', 'words'),
    [
        ("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n", 'nothing to upgrade'),
        (MODEL + "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))\n", 'nothing to upgrade'),
        (RUN, 'holds no model'),
        (MODEL, 'no configuration of mmdet 2.x'),
        ('model = dict(\n', 'cannot be read'),
        (MODEL + RUN + 'import nowhere_to_be_found\n', 'cannot be read: ModuleNotFoundError'),
        (MODEL + RUN + 'raise SystemExit(0)\n', 'cannot be read: SystemExit'),
        ("_base_ = ['../_base_/model.py', './leaf.py']\n", 'leaf.py inherits from itself'),
        ('_base_ = 5\n', 'cannot be read'),
    ],
)
def test_files_that_are_something_else(leaf: str, words: str, tmp_path: Path) -> None:
    assert words in message(tree(tmp_path, leaf))


def test_no_file(tmp_path: Path) -> None:
    assert 'does not exist' in message(tmp_path / 'none.py')
