"""The kernels compile for GPUs, which takes none, and fit: registers, shared memory, tensor cores, no atomics."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != 'linux':
    pytest.skip('Triton has wheels for Linux alone', allow_module_level=True)

SCRIPT = Path(__file__).with_name('compile_triton_kernels.py')
SMALL, TILED = ['forward', 'backward'], ['tiled_forward', 'backward_queries', 'backward_keys', 'backward_bias']


def _compile(cache, capability, dtype, window, kernels):
    """In a process of its own: in this one the kernels may be there to be interpreted."""
    command = [sys.executable, str(SCRIPT), str(capability), dtype, str(window), *kernels]
    env = {**os.environ, 'TRITON_CACHE_DIR': str(cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _check(taken, spilled):
    assert taken['atom'] == 0
    assert taken['shared'] <= 99 * 1024  # what the smallest GPU since Ampere gives a program
    assert taken['stack'] <= spilled
    if taken['dtype'] in ('bfloat16', 'float16'):
        assert taken['wgmma.mma_async' if taken['capability'] == 90 else 'mma.sync'] > 0
        assert taken['cp.async'] > 0  # loads are in flight ahead of their use
    else:
        assert taken['wgmma.mma_async'] == taken['mma.sync'] == 0  # full precision, no TF32


def test_window_7_for_hopper(tmp_path):
    forward, backward = _compile(tmp_path, 90, 'bfloat16', 7, SMALL)
    _check(forward, spilled=0)
    _check(backward, spilled=128)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('capability', 'dtype', 'window', 'kernels'),
    [
        (80, 'bfloat16', 7, SMALL),
        (80, 'bfloat16', 12, TILED),
        (90, 'bfloat16', 12, TILED),
        (90, 'float32', 7, SMALL),
        (80, 'float32', 12, TILED),
        (90, 'float16', 16, TILED),
    ],
)
def test_other_windows_types_and_gpus(tmp_path, capability, dtype, window, kernels):
    found = _compile(tmp_path, capability, dtype, window, kernels)
    assert [taken['kernel'] for taken in found] == kernels
    for taken in found:
        _check(taken, spilled=384)
