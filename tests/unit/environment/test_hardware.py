"""What the machine has is read from the system, and said where it is not enough."""

import pytest

from mmswin.environment import hardware
from mmswin.environment.hardware import Gpu
from mmswin.environment.stacks import SetupError


def test_compilers_fit_into_memory():
    assert [hardware.compile_jobs(8, memory) for memory in (100.0, 7.0, 0.5)] == [8, 3, 1]
    assert hardware.compile_jobs(2, None) == 2


def test_the_limits_of_a_container_count(tmp_path):
    group = tmp_path / 'sys/fs/cgroup'
    group.mkdir(parents=True)
    assert hardware.free_memory(tmp_path) is None
    (group / 'cpu.max').write_text('100000 100000')
    (group / 'memory.max').write_text(str(3 * 2**30))
    (group / 'memory.current').write_text(str(2**30))
    assert hardware.usable_cores(tmp_path) == 1
    assert hardware.free_memory(tmp_path) == 2.0


def test_gpus_and_nvcc_are_what_their_programs_report():
    assert hardware.find_gpus(lambda _: 'NVIDIA H200, 9.0\nA100, 8.0\n') == [
        Gpu('NVIDIA H200', '9.0'),
        Gpu('A100', '8.0'),
    ]
    assert hardware.find_gpus(lambda _: None) == []
    assert hardware.find_nvcc(lambda _: 'Cuda compilation tools, release 13.0, V13.0.88', {}) == '13.0'
    assert hardware.find_nvcc(lambda _: None, {'CUDA_HOME': '/opt/cuda'}) is None


def test_a_missing_compiler_is_named():
    with pytest.raises(SetupError, match=r'clang.* is not on the PATH.*CXX'):
        hardware.check_compiler({'PATH': '/nowhere', 'CXX': 'clang++ -v'})
