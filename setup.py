"""Packaging of mmswin.

Nothing is required by name: an installation must never replace the torch, mmcv or mmdet of a user, who may have
OpenMMLab's releases or the maintained forks (other distribution names, same import names). The extras install one of
the two stacks; `make setup` installs everything, mmcv's compiled ops included.

The package takes the configurations and tools along in `mmswin/.mim`, where mmengine (`_base_ = 'mmswin::swin/NAME.py'`)
and mim look for them: as copies in a wheel, as links into the checkout for `pip install -e .`.
"""

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
# mmengine's references need a folder below configs/.
LAYOUT = {'configs': 'configs/swin', 'tools': 'tools'}
# These work in a checkout alone.
LEFT_OUT = ('__pycache__', 'demo.py', 'setup_env.py')
MODEL_INDEX = 'Import:\n  - configs/swin/metafile.yml\n'


class BuildWithMim(build_py):
    """Builds the package and lays out `.mim` in it."""

    def run(self):
        super().run()
        editable = getattr(self, 'editable_mode', False)
        mim = HERE / 'mmswin' / '.mim' if editable else Path(self.build_lib) / 'mmswin' / '.mim'
        shutil.rmtree(mim, ignore_errors=True)
        mim.mkdir(parents=True)
        for source, target in LAYOUT.items():
            place = mim / target
            place.parent.mkdir(exist_ok=True)
            if editable:
                try:
                    place.symlink_to(os.path.relpath(HERE / source, place.parent), target_is_directory=True)
                    continue
                except OSError:
                    pass  # a system without links gets copies, as of now
            shutil.copytree(HERE / source, place, ignore=shutil.ignore_patterns(*LEFT_OUT))
        (mim / 'model-index.yml').write_text(MODEL_INDEX, encoding='utf-8')


def read_version() -> str:
    text = (HERE / 'mmswin' / '__init__.py').read_text(encoding='utf-8')
    return re.search(r'^__version__ = [\'"]([^\'"]+)[\'"]', text, re.MULTILINE).group(1)


def read_readme() -> str:
    """README without links into the repository, which lead nowhere outside of it."""
    text = (HERE / 'README.md').read_text(encoding='utf-8')
    return re.sub(r'\[([^\]]*)\]\((?!https?://)[^)]*\)', r'\1', text)


setup(
    name='mmswin',
    version=read_version(),
    description='Swin Transformer for dense prediction with mmdet and mmseg',
    long_description=read_readme(),
    long_description_content_type='text/markdown',
    author='mmswin contributors',
    license='Apache-2.0',
    keywords='swin transformer, object detection, instance segmentation, semantic segmentation, mmdet, mmseg',
    python_requires='>=3.10',
    packages=find_packages(include=['mmswin', 'mmswin.*']),
    package_data={'mmswin': ['py.typed']},
    cmdclass={'build_py': BuildWithMim},
    entry_points={'console_scripts': ['mmswin = mmswin.cli:main']},
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
            'safetensors',
        ],
        'onedl': [
            'torch>=2.1',
            'onedl-mmengine>=0.10.12,<0.11',
            'onedl-mmcv>=2.3.6,<2.4',
            'onedl-mmdetection>=3.5.1,<3.6',
            'onedl-mmsegmentation>=1.4.2,<1.5',
            'ftfy',
            'regex',
            'safetensors',
        ],
        'export': ['onnx', 'onnxscript', 'onnxruntime', 'openvino'],
        'test': ['pytest>=8', 'pytest-xdist', 'triton; sys_platform == "linux"'],
    },
    classifiers=[
        'License :: OSI Approved :: Apache Software License',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
)
