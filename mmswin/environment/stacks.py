"""The two sets of OpenMMLab distributions that mmswin works with, and the Pythons and torch it is set up with."""

from __future__ import annotations

from dataclasses import dataclass

PYTHON_MIN = (3, 10)
PYTHON_MAX = (3, 12)
TORCH = '2.13.0'
# The CUDA that the standard build of that release is made for; nvcc must be of the same major version.
TORCH_CUDA = '13.0'
TORCH_CPU_INDEX = 'https://download.pytorch.org/whl/cpu'
# What installs everything else, and compiles mmcv once for each torch.
UV = '0.13.9'
# setuptools 81 and later drop pkg_resources, which mmcv's setup.py and mmengine import.
SETUPTOOLS = 'setuptools<81'


class SetupError(Exception):
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


def _stack(name: str, venv: str, *pins: str) -> Stack:
    versions = tuple((pin.split('==')[0], pin.split('==')[1]) for pin in pins)
    return Stack(name, venv, *(distribution for distribution, _ in versions), versions)


STACKS = {
    'openmmlab': _stack(
        'openmmlab', '.venv', 'mmengine==0.10.7', 'mmcv==2.1.0', 'mmdet==3.3.0', 'mmsegmentation==1.2.2'
    ),
    'onedl': _stack(
        'onedl',
        '.venv-onedl',
        'onedl-mmengine==0.10.12',
        'onedl-mmcv==2.3.6',
        'onedl-mmdetection==3.5.1',
        'onedl-mmsegmentation==1.4.2',
    ),
}

# By stack, what classification and pretraining take, in a folder of its own (see mmswin.environment.importable).
MMPRETRAIN = {'openmmlab': 'mmpretrain==1.2.0', 'onedl': 'onedl-mmpretrain==1.3.6'}

# What the stack needs but does not always ask for (mmseg's text encoder), and what the tests and lint run with.
COMPANIONS = ('ftfy', 'regex', 'safetensors', 'pytest', 'pytest-xdist', 'ruff')
# The CPU build of torch comes without it; the tests interpret its kernels. There are wheels for Linux alone.
TRITON = 'triton'


def check_python(version: tuple[int, ...]) -> None:
    """Raises SetupError unless the stacks are known to work with this Python."""
    if not PYTHON_MIN <= tuple(version[:2]) <= PYTHON_MAX:
        raise SetupError(
            f'Python {dotted(version)} is not supported: mmswin is set up with Python {dotted(PYTHON_MIN)} to '
            f'{dotted(PYTHON_MAX)}. Install one of them and name it: make setup PYTHON=python{dotted(PYTHON_MAX)}'
        )


def dotted(version: tuple[int, ...]) -> str:
    """3.11.7 from (3, 11, 7)."""
    return '.'.join(map(str, version))
