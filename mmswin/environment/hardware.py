"""What this machine has: cores, memory, a C++ compiler, NVIDIA GPUs, nvcc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmswin.environment.stacks import SetupError

# One compiler process on a source that includes torch's headers peaks a little above this.
GIB_PER_COMPILER = 2.0
GIB = 2**30


class Gpu(NamedTuple):
    name: str
    capability: str  # as torch writes it, '9.0'


def ask(command: list[str], timeout: float = 60) -> str | None:
    """What a command prints on standard output, or None when it cannot be run, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def find_gpus(ask: Callable = ask) -> list[Gpu]:
    """NVIDIA GPUs that a working driver reports; none where nvidia-smi is missing or fails."""
    text = ask(['nvidia-smi', '--query-gpu=name,compute_cap', '--format=csv,noheader']) or ''
    rows = [line.rsplit(',', 1) for line in text.splitlines() if ',' in line]
    return [Gpu(name.strip(), capability.strip()) for name, capability in rows]


def find_nvcc(ask: Callable = ask, environ: Mapping[str, str] = os.environ) -> str | None:
    """Version of the nvcc that torch would compile with ('13.0'), or None."""
    home = environ.get('CUDA_HOME') or environ.get('CUDA_PATH')
    candidates = [str(Path(home) / 'bin' / 'nvcc')] if home else ['nvcc', '/usr/local/cuda/bin/nvcc']
    releases = (re.search(r'release (\d+\.\d+)', ask([nvcc, '--version']) or '') for nvcc in candidates)
    return next((found.group(1) for found in releases if found), None)


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


def check_compiler(environ: Mapping[str, str] = os.environ) -> None:
    """Raises SetupError unless there is a C++ compiler."""
    compiler = environ.get('CXX') or 'c++'
    if shutil.which(compiler.split()[0], path=environ.get('PATH')) is None:
        package = 'macOS: xcode-select --install' if sys.platform == 'darwin' else 'Debian, Ubuntu: apt install g++'
        raise SetupError(
            f'No C++ compiler: {compiler!r} is not on the PATH. mmcv has no ready-made wheel for this torch and is compiled '
            f'here once. Install a compiler ({package}) or name yours in CXX, then run `make setup` again.'
        )


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ''
