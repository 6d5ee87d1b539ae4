"""The libraries of export, which `make peers` installs next to the environment and not in it."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get('MMSWIN_EXPORT_LIBRARIES') or Path(sys.prefix, 'export'))


@pytest.fixture(scope='session')
def libraries():
    """Make onnx, onnxruntime and openvino importable; a test that asks for them is skipped where they are not."""
    if not find_spec('onnxruntime') and not (FOLDER / 'onnxruntime').is_dir():
        pytest.skip(f'onnx, onnxruntime, openvino: NOT CHECKED, they are not in {FOLDER} (make peers installs them)')
    sys.path.append(str(FOLDER))
    yield FOLDER
    sys.path.remove(str(FOLDER))
