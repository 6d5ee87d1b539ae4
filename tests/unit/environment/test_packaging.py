"""Installing mmswin brings nothing along and adds one package; without its libraries it says what is missing."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import mmswin
from mmswin.environment import stacks
from mmswin.environment.missing import explain_missing

ROOT = Path(__file__).resolve().parents[3]


def test_an_installation_requires_nothing_by_itself():
    requirements = metadata.requires('mmswin') or []
    assert requirements, 'the extras are gone'
    assert [text for text in requirements if 'extra ==' not in text] == []


@pytest.mark.parametrize('name', stacks.STACKS)
def test_each_extra_admits_the_versions_that_ci_runs_with(name):
    from packaging.requirements import Requirement

    pins = stacks.read_pins(ROOT / 'constraints' / f'{name}.txt')
    extra = [Requirement(text) for text in metadata.requires('mmswin') if re.search(f'extra == [\'"]{name}[\'"]', text)]
    names = {stacks.normalize(requirement.name) for requirement in extra}
    assert set(stacks.STACKS[name].distributions) < names
    for requirement in extra:
        assert requirement.specifier.contains(pins[stacks.normalize(requirement.name)]), requirement


def test_the_installed_version_is_that_of_the_package():
    assert metadata.version('mmswin') == mmswin.__version__


def test_only_mmswin_is_installed():
    code = "from setuptools import find_packages; print(*find_packages(include=['mmswin', 'mmswin.*']))"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT, check=True)
    packages = set(done.stdout.split())
    assert {name.split('.')[0] for name in packages} == {'mmswin'}
    folders = {path.parent for path in (ROOT / 'mmswin').rglob('*.py')}
    assert packages == {'.'.join(folder.relative_to(ROOT).parts) for folder in folders}, 'an __init__.py is missing'


def test_a_missing_library_is_explained():
    error = explain_missing(ModuleNotFoundError("No module named 'mmengine.model'", name='mmengine.model'), 'mmswin.x')
    assert isinstance(error, ImportError)
    assert str(error).startswith('mmswin.x needs mmengine, which is not installed here.')
    assert "'mmswin[openmmlab]'" in str(error) and 'tools/doctor.py' in str(error)


def test_the_backbone_without_mmengine_explains_itself():
    code = (
        'import sys\n'
        "sys.modules['mmengine'] = None\n"
        'import mmswin\n'
        'try:\n'
        '    mmswin.SwinTransformer\n'
        'except ImportError as error:\n'
        '    print(error)\n'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith('mmswin.SwinTransformer needs mmengine, which is not installed here.'), done.stderr


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mmswin' has no attribute 'SwinTransformr'"):
        mmswin.SwinTransformr  # noqa: B018
