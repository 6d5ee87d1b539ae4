"""A wheel, built and used outside the checkout: what it holds, its command, and configurations that inherit from it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mmswin import shipped

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SAME = """
from mmswin.engine.configure import load_config
copy, original = (load_config(name, None, 'work') for name in ('copied.py', 'mask_rcnn_swin_t_finetune'))
assert copy._cfg_dict == original._cfg_dict
assert load_config('mine.py', None, None).model.backbone.arch == 'small'
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp('source')
    for name in ('mmswin', 'configs', 'tools'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'CHANGELOG.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    subprocess.run([*pip, 'wheel', '--no-deps', '--no-build-isolation', '-w', source, source], check=True)
    return next(source.glob('*.whl'))


@pytest.fixture
def outside(wheel, tmp_path, monkeypatch):
    """Runs Python in a directory of its own, with the wheel's package in front of the checkout's."""
    zipfile.ZipFile(wheel).extractall(tmp_path / 'installed')
    (tmp_path / 'here').mkdir()

    def run(*words: str) -> str:
        env = dict(os.environ, PYTHONPATH=str(tmp_path / 'installed'))
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path / 'here', env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_what_it_holds(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    mim = {name.removeprefix('mmswin/.mim/') for name in names if name.startswith('mmswin/.mim/')}
    assert {'model-index.yml', 'configs/swin/metafile.yml', 'tools/train.py', 'tools/test.py'} <= mim
    configs = {path.relative_to(ROOT / 'configs').as_posix() for path in (ROOT / 'configs').rglob('*.py')}
    assert {f'configs/swin/{name}' for name in configs} <= mim
    assert 'mmswin/py.typed' in names
    assert not {name.split('/')[0] for name in names} - {'mmswin', f'mmswin-{shipped_version(wheel)}.dist-info'}


def shipped_version(wheel: Path) -> str:
    return wheel.name.split('-')[1]


def test_its_command_and_its_configurations(outside, tmp_path):
    assert outside('-m', 'mmswin', 'configs').split() == shipped.names()
    assert outside('-m', 'mmswin', 'configs', '--where').startswith(str(tmp_path / 'installed'))
    outside('-m', 'mmswin', 'configs', 'copy', 'mask_rcnn_swin_t_finetune', 'copied.py')
    (tmp_path / 'here' / 'mine.py').write_text("_base_ = 'mmswin::swin/mask_rcnn_swin_s_coco.py'\n")
    outside('-c', SAME)
