"""The two sets of OpenMMLab distributions that mmswin works with, and the Pythons and torch it is set up with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PYTHON_MIN = (3, 10)
PYTHON_MAX = (3, 12)
TORCH = '2.13.0'
# The CUDA that the standard build of that release is made for; nvcc must be of the same major version.
TORCH_CUDA = '13.0'
# setuptools 81 and later drop pkg_resources, which mmcv's setup.py and mmengine import.
SETUPTOOLS_BELOW = 81
TORCH_CPU_INDEX = 'https://download.pytorch.org/whl/cpu'


class EnvironmentProblem(Exception):
    """Something about this machine stops the set-up; the message says what, and what to do about it."""


@dataclass(frozen=True)
class Stack:
    """Distributions by role. Import names are the same in both stacks: mmengine, mmcv, mmdet, mmseg."""

    name: str
    venv: str
    mmengine: str
    mmcv: str
    mmdet: str
    mmseg: str
    versions: tuple[tuple[str, str], ...]

    def version(self, distribution: str) -> str:
        return dict(self.versions)[distribution]

    @property
    def distributions(self) -> tuple[str, ...]:
        return (self.mmengine, self.mmcv, self.mmdet, self.mmseg)

    def pin(self, distribution: str) -> str:
        return f'{distribution}=={self.version(distribution)}'


STACKS = {
    'openmmlab': Stack(
        name='openmmlab',
        venv='.venv',
        mmengine='mmengine',
        mmcv='mmcv',
        mmdet='mmdet',
        mmseg='mmsegmentation',
        versions=(('mmengine', '0.10.7'), ('mmcv', '2.1.0'), ('mmdet', '3.3.0'), ('mmsegmentation', '1.2.2')),
    ),
    'onedl': Stack(
        name='onedl',
        venv='.venv-onedl',
        mmengine='onedl-mmengine',
        mmcv='onedl-mmcv',
        mmdet='onedl-mmdetection',
        mmseg='onedl-mmsegmentation',
        versions=(
            ('onedl-mmengine', '0.10.12'),
            ('onedl-mmcv', '2.3.6'),
            ('onedl-mmdetection', '3.5.1'),
            ('onedl-mmsegmentation', '1.4.2'),
        ),
    ),
}

# What the stack needs but does not always ask for (mmseg's text encoder), and what the tests and lint run with.
COMPANIONS = ('ftfy', 'regex', 'pytest', 'pytest-xdist', 'ruff')
# The CPU build of torch comes without it; the tests interpret its kernels. There are wheels for Linux alone.
TRITON = 'triton'


def find_stack(name: str) -> Stack:
    """The stack of that name. Raises EnvironmentProblem listing the names there are."""
    try:
        return STACKS[name]
    except KeyError:
        raise EnvironmentProblem(f'No stack is named {name!r}; choose STACK={" or STACK=".join(STACKS)}.') from None


def read_pins(constraints: Path) -> dict[str, str]:
    """Versions by distribution name of a constraints file made of ``name==version`` lines."""
    pins = {}
    for line in constraints.read_text(encoding='utf-8').splitlines():
        line = line.split('#')[0].strip()
        if line:
            name, _, version = line.partition('==')
            pins[normalize(name)] = version.split(';')[0].strip()
    return pins


def normalize(name: str) -> str:
    """A distribution's name as indexes compare it: lower case, runs of ``-_.`` as one hyphen."""
    return re.sub(r'[-_.]+', '-', name.strip()).lower()


def check_python(version: tuple[int, ...]) -> None:
    """Raises EnvironmentProblem unless the stacks are known to work with this Python."""
    if not PYTHON_MIN <= tuple(version[:2]) <= PYTHON_MAX:
        raise EnvironmentProblem(
            f'Python {".".join(map(str, version))} is not supported: mmswin is set up with Python '
            f'{dotted(PYTHON_MIN)} to {dotted(PYTHON_MAX)}. Install one of them and name it: '
            f'make setup PYTHON=python{dotted(PYTHON_MAX)}'
        )


def dotted(version: tuple[int, ...]) -> str:
    """3.11.7 from (3, 11, 7)."""
    return '.'.join(map(str, version))
