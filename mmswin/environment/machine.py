"""What this machine has: cores, memory, disk, a C++ compiler, NVIDIA GPUs, nvcc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mmswin.environment.stacks import EnvironmentProblem

# One compiler process on a source that includes torch's headers peaks a little above this.
GIB_PER_COMPILER = 2.0
GIB = 2**30


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: str  # as torch writes it, '9.0'


def ask(command: list[str], timeout: float = 60) -> str | None:
    """What a command prints on standard output, or None when it cannot be run, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def find_gpus(ask=ask) -> list[Gpu]:
    """NVIDIA GPUs that a working driver reports; none where nvidia-smi is missing or fails."""
    text = ask(['nvidia-smi', '--query-gpu=name,compute_cap', '--format=csv,noheader']) or ''
    rows = [line.rsplit(',', 1) for line in text.splitlines() if ',' in line]
    return [Gpu(name.strip(), capability.strip()) for name, capability in rows]


def find_nvcc(ask=ask, environ=os.environ) -> str | None:
    """Version of the nvcc that torch would compile with ('13.0'), or None."""
    home = environ.get('CUDA_HOME') or environ.get('CUDA_PATH')
    candidates = [str(Path(home) / 'bin' / 'nvcc')] if home else ['nvcc', '/usr/local/cuda/bin/nvcc']
    for nvcc in candidates:
        found = re.search(r'release (\d+\.\d+)', ask([nvcc, '--version']) or '')
        if found:
            return found.group(1)
    return None


def usable_cores(root: Path = Path('/')) -> int:
    """Cores this process may use, a container's quota included."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    quota = _read(root / 'sys/fs/cgroup/cpu.max').split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, max(1, int(quota[0]) // int(quota[1])))
    return cores


def free_memory(root: Path = Path('/')) -> float | None:
    """GiB of memory free for new processes, a container's limit included; None where the system does not say."""
    amounts = []
    available = re.search(r'MemAvailable:\s+(\d+) kB', _read(root / 'proc/meminfo'))
    if available:
        amounts.append(int(available.group(1)) * 1024 / GIB)
    limit, used = (_read(root / 'sys/fs/cgroup' / name).strip() for name in ('memory.max', 'memory.current'))
    if limit.isdigit() and used.isdigit():
        amounts.append((int(limit) - int(used)) / GIB)
    return min(amounts) if amounts else None


def compile_jobs(cores: int, memory: float | None) -> int:
    """How many compilers to run at once: one per core, fewer where memory is short."""
    return cores if memory is None else max(1, min(cores, int(memory / GIB_PER_COMPILER)))


def check_compiler(environ=os.environ) -> str:
    """The C++ compiler, after it has compiled a small program. Raises EnvironmentProblem otherwise."""
    compiler = environ.get('CXX') or 'c++'
    remedy = (
        'mmcv has no ready-made wheel for this torch and is compiled here once. Install a compiler '
        f'({_compiler_package()}) or name yours in CXX, then run `make setup` again.'
    )
    if shutil.which(compiler.split()[0], path=environ.get('PATH')) is None:
        raise EnvironmentProblem(f'No C++ compiler: {compiler!r} is not on the PATH. {remedy}')
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, 'probe.cpp')
        source.write_text('#include <optional>\nint main() { return std::optional<int>(0).value(); }\n')
        command = [*compiler.split(), '-std=c++17', '-c', str(source), '-o', str(Path(folder, 'probe.o'))]
        done = subprocess.run(command, capture_output=True, text=True, env=dict(environ), stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ['no reason given'])[0]
        raise EnvironmentProblem(f'The C++ compiler {compiler!r} cannot compile a C++17 program: {reason}. {remedy}')
    return compiler


def check_headers(include: Path | None = None) -> None:
    """Raises EnvironmentProblem when Python's own headers are missing, without which nothing can be compiled for it."""
    include = include or Path(sysconfig.get_path('include'))
    if not (include / 'Python.h').exists():
        raise EnvironmentProblem(
            f"Python's headers are missing: there is no {include / 'Python.h'}, and mmcv is compiled against it. "
            f'Install them (Debian, Ubuntu: apt install python{sys.version_info[0]}.{sys.version_info[1]}-dev; Fedora: '
            'dnf install python3-devel) or choose a Python that has them: make setup PYTHON=...'
        )


def check_disk(folder: Path, gib: float, disk_usage=shutil.disk_usage) -> None:
    """Raises EnvironmentProblem when fewer than ``gib`` GiB are free where ``folder`` is or will be."""
    while not folder.exists():
        folder = folder.parent
    free = disk_usage(folder).free / GIB
    if free < gib:
        raise EnvironmentProblem(
            f'The disk that holds {folder} has {free:.1f} GiB free and the set-up needs about {gib:g} GiB. '
            'Free some, or check the project out on a larger disk.'
        )


def _compiler_package() -> str:
    if sys.platform == 'darwin':
        return 'macOS: xcode-select --install'
    return 'Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++'


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ''
