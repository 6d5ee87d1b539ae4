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
    """Versions of the distributions that are imported as mmengine, mmcv, mmdet and mmseg, in this order."""

    name: str
    venv: str
    versions: dict[str, str]

    @property
    def distributions(self) -> tuple[str, ...]:
        return tuple(self.versions)

    @property
    def mmcv(self) -> str:
        return self.distributions[1]

    def pin(self, distribution: str) -> str:
        return f'{distribution}=={self.versions[distribution]}'


_OPENMMLAB = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0', 'mmsegmentation': '1.2.2'}
_ONEDL = {
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmdetection': '3.5.1',
    'onedl-mmsegmentation': '1.4.2',
}
STACKS = {'openmmlab': Stack('openmmlab', '.venv', _OPENMMLAB), 'onedl': Stack('onedl', '.venv-onedl', _ONEDL)}

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
