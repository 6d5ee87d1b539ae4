"""Stacks, constraints and the extras of the package say the same."""

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmswin.environment import stacks
from mmswin.environment.stacks import STACKS, SetupError

ROOT = Path(__file__).resolve().parents[3]


def _pins(name):
    """Versions by distribution of a constraints file."""
    lines = (ROOT / 'constraints' / f'{name}.txt').read_text().splitlines()
    pins = (line.split('#')[0].strip().partition('==') for line in lines)
    return {canonicalize_name(name): version.split(';')[0].strip() for name, _, version in pins if name}


@pytest.mark.parametrize('version', [(3, 9, 18), (3, 13, 0), (2, 7, 18)])
def test_another_python_is_refused(version):
    with pytest.raises(SetupError, match=rf'{version[0]}\.{version[1]}.*3\.10 to 3\.12.*PYTHON='):
        stacks.check_python(version)


@pytest.mark.parametrize('name', STACKS)
def test_constraints_pin_what_is_installed(name):
    pins = _pins(name)
    assert STACKS[name].versions.items() <= pins.items()
    assert pins['torch'] == stacks.TORCH
    assert {*stacks.COMPANIONS, stacks.TRITON, 'opencv-python-headless', 'pip', 'wheel'} <= pins.keys()
    assert Requirement(stacks.SETUPTOOLS).specifier.contains(pins['setuptools'])


@pytest.mark.parametrize('name', STACKS)
def test_each_extra_admits_the_versions_that_ci_runs_with(name):
    pins = _pins(name)
    required = metadata.requires('mmswin')
    extra = [Requirement(text) for text in required if re.search(f'extra == [\'"]{name}[\'"]', text)]
    assert set(STACKS[name].distributions) < {requirement.name for requirement in extra}
    for requirement in extra:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_an_installation_requires_nothing_by_itself():
    assert [text for text in metadata.requires('mmswin') if 'extra ==' not in text] == []


@pytest.mark.parametrize(('beside', 'some'), [
    ('peers', {'timm', 'torchvision', 'transformers', 'safetensors'}), ('export', {'onnx', 'onnxruntime', 'openvino'}),
    ('inference', {'sahi', 'supervision'}),
])  # fmt: skip
def test_the_reference_libraries_do_not_replace_what_the_stacks_bring(beside, some):
    libraries = _pins(beside)
    assert some <= libraries.keys()
    for name in STACKS:
        own = _pins(name)
        assert {library for library in libraries.keys() & own.keys() if libraries[library] != own[library]} == set()
