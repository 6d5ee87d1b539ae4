"""What a benchmark was run on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mmswin.errors import RunError

_PACKAGES = (
    'mmswin', 'torch', 'triton', 'mmengine', 'onedl-mmengine', 'mmcv', 'mmcv-lite', 'onedl-mmcv', 'mmdet',
    'onedl-mmdetection', 'mmsegmentation', 'onedl-mmsegmentation', 'transformers', 'timm', 'torchvision', 'numpy',
)  # fmt: skip


def check_device(device: str, remedy: str = 'use cpu') -> None:
    """Refuse a device that is not there.

    Args:
        device: As a user named it.
        remedy: What to do without a GPU.

    Raises:
        RunError: This torch does not know it or finds none.
    """
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise RunError(f'--device {device}: torch knows no such device; give cpu, cuda, cuda:1, ...') from error
    if found.type == 'cuda' and not torch.cuda.is_available():
        raise RunError(f'--device {device}: this torch ({torch.__version__}) has no CUDA device; {remedy}')
    if found.type == 'cuda' and (found.index or 0) >= torch.cuda.device_count():
        raise RunError(f'--device {device}: the last one here is cuda:{torch.cuda.device_count() - 1}')


def describe(device: str) -> dict[str, Any]:
    """Processor or GPU, threads, versions of what takes part; plain values."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    facts: dict[str, Any] = {
        'system': ' '.join([platform.system(), platform.machine(), *platform.libc_ver()]).strip(),
        'python': platform.python_version(),
        'processor': _processor(),
        'vector_instructions': torch.backends.cpu.get_cpu_capability(),
        'cores': os.cpu_count(),
        'versions': versions,
    }
    if torch.device(device).type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        facts['gpu'] = properties.name
        facts['gpu_memory_bytes'] = properties.total_memory
        facts['cuda'] = torch.version.cuda
        facts['tf32'] = torch.backends.cuda.matmul.allow_tf32
    return facts


def _processor() -> str:
    for line in Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').is_file() else ():
        if line.startswith('model name'):
            return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()
