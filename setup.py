"""Packaging of mmswin.

Nothing is required by name: an installation must never replace the torch, mmcv or mmdet of a user, who may have
OpenMMLab's releases or the maintained forks (other distribution names, same import names). The extras install one of
the two stacks; `make setup` installs everything, mmcv's compiled ops included.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent


def read_version() -> str:
    text = (HERE / 'mmswin' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r'^__version__ = [\'"]([^\'"]+)[\'"]', text, re.MULTILINE).group(1)


def read_readme() -> str:
    path = HERE / 'README.md'
    return path.read_text(encoding='utf-8') if path.exists() else ''


setup(
    name='mmswin',
    version=read_version(),
    description='Swin Transformer for dense prediction with mmdet and mmseg',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmswin', 'mmswin.*']),
    package_data={'mmswin': ['py.typed']},
    install_requires=[],
    extras_require={
        'openmmlab': [
            'torch>=2.1',
            'mmengine>=0.10.7,<0.11',
            'mmcv>=2.1.0,<2.2.0',
            'mmdet>=3.3.0,<3.4',
            'mmsegmentation>=1.2.2,<1.3',
            'ftfy',
            'regex',
        ],
        'onedl': [
            'torch>=2.1',
            'onedl-mmengine>=0.10.12,<0.11',
            'onedl-mmcv>=2.3.6,<2.4',
            'onedl-mmdetection>=3.5.1,<3.6',
            'onedl-mmsegmentation>=1.4.2,<1.5',
            'ftfy',
            'regex',
        ],
        'test': ['pytest>=8', 'pytest-xdist', 'triton; sys_platform == "linux"'],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
)
