"""Failures of installers and compilers are explained."""

import pytest

from mmswin.environment.shell import explain, last_lines
from mmswin.environment.stacks import TORCH_CPU_INDEX


@pytest.mark.parametrize(
    ('text', 'part'),
    [
        ('urllib3: Max retries exceeded with url', 'No package index'),
        ('error: Failed to fetch: https://index/simple/six/\n  cause: dns error', 'No package index'),
        ('cause: Because there is no version of torch==2.13.9+cpu and you require', 'TORCH_BUILD=cuda'),
        (f'Failed to fetch: {TORCH_CPU_INDEX}/torch/\n  cause: dns error', 'TORCH_BUILD=cuda'),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "pip install 'setuptools<81'"),
        ('cause: No space left on device (os error 28)', 'disk is full'),
        ('c++: fatal error: Killed signal terminated program cc1plus', 'MAX_JOBS=1'),
        ('fatal error: Python.h: No such file or directory', 'python3-dev'),
        (
            'The detected CUDA version (12.4) mismatches the version that was used to compile PyTorch (13.0)',
            'CUDA_HOME',
        ),
        ('ensurepip is not available', 'python3-venv'),
    ],
)
def test_known_faults_have_a_remedy(text, part):
    assert part in explain(f'Collecting\n{text}\nmore')


def test_an_unknown_fault_is_shown_by_its_last_lines():
    assert explain('error: something else') is None
    assert last_lines('one\n\n  two\rthree\n', 2) == '    two\n  three'
