"""The libraries of export, which `make peers` installs next to the environment and not in it."""

import sys
from importlib.util import find_spec

import pytest

from mmswin.environment.importable import export_folder


@pytest.fixture(scope='session')
def libraries():
    """Make onnx, onnxruntime and openvino importable; a test that asks for them is skipped where they are not."""
    folder = export_folder()
    if not find_spec('onnxruntime') and not (folder / 'onnxruntime').is_dir():
        pytest.skip(f'onnx, onnxruntime, openvino: NOT CHECKED, they are not in {folder} (make peers installs them)')
    sys.path.append(str(folder))
    yield folder
    sys.path.remove(str(folder))
