"""Every configuration as the Runner reads it, held line by line in golden/.

A file there says `complete`, or names the configuration that its lines differ from. A change of a recipe shows as
changed lines here and in the commit; to accept it: ACCEPT=1 make test ARGS=tests/unit/configs/test_golden.py
"""

import difflib
import inspect
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
GOLDEN = Path(__file__).parent / 'golden'
NAMES = sorted(path.stem for path in CONFIGS.glob('*.py'))
COMPLETE = [
    'cascade_mask_rcnn_swin_t_coco',
    'mask_rcnn_swin_t_coco',
    'atss_swin_t_coco',
    'sparse_rcnn_swin_t_coco',
    'upernet_swin_t_ade20k',
    'swin_t_in1k',
    'swin_cifar100',
]
# What a run reads of a configuration; all else are variables of its files.
READ = {*inspect.signature(Runner.__init__).parameters, 'tta_model', 'tta_pipeline'}


def flat(value: object, key: str) -> Iterator[str]:
    """One line for each plain value; a list without dicts is a plain value."""
    if isinstance(value, dict) and value:
        for name in value:
            if name != '_scope_':
                yield from flat(value[name], f'{key}.{name}')
    elif isinstance(value, list | tuple) and '{' in repr(value):
        for index, item in enumerate(value):
            yield from flat(item, f'{key}[{index}]')
    else:
        yield f'{key} = {value!r}'


@cache
def lines_of(name: str) -> list[str]:
    cfg = Config.fromfile(CONFIGS / f'{name}.py').to_dict()
    lines = [line for key in cfg if key in READ for line in flat(cfg[key], key)]
    # What tests is mostly what validates.
    validation = {line for line in lines if line.startswith('val_')}
    return sorted(
        line for line in lines if not (line.startswith('test_') and line.replace('test_', 'val_', 1) in validation)
    )


def changes(old: list[str], new: list[str]) -> list[str]:
    return [line for line in list(difflib.unified_diff(old, new, lineterm='', n=0))[2:] if not line.startswith('@@')]


def golden_of(name: str, relative: str) -> list[str]:
    return (
        ['complete', *lines_of(name)]
        if relative == 'complete'
        else [relative, *changes(lines_of(relative), lines_of(name))]
    )


def accept(name: str) -> None:
    relatives = ['complete'] if name in COMPLETE else COMPLETE
    shortest = min((golden_of(name, relative) for relative in relatives), key=len)
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / f'{name}.txt').write_text('\n'.join(shortest) + '\n')


@pytest.fixture(autouse=True)
def no_folders_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith('MMSWIN_')]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize('name', NAMES)
def test_configurations_are_as_accepted(name: str) -> None:
    if os.environ.get('ACCEPT') == '1':
        accept(name)
    path = GOLDEN / f'{name}.txt'
    assert path.is_file(), f'{name} is new: accept it'
    golden = path.read_text().splitlines()
    found = golden_of(name, golden[0])
    assert found == golden, '\n'.join(difflib.unified_diff(golden, found, 'accepted', 'now', lineterm='', n=0))


def test_no_file_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == NAMES
