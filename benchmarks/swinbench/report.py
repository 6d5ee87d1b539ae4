"""What a benchmark ran on, and its figures as Markdown."""

import datetime
import os
import platform
import statistics
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

_QUARTILES = (25, 50, 75)
_PACKAGES = ('mmswin', 'torch', 'triton', 'mmengine', 'onedl-mmengine', 'mmcv', 'mmcv-lite', 'onedl-mmcv', 'mmdet',
             'onedl-mmdetection', 'transformers', 'timm', 'torchvision', 'openvino', 'onnxruntime', 'nncf', 'mmsegmentation', 'numpy')  # fmt: skip
_INSTRUCTIONS = ('avx2', 'avx512f', 'avx512_bf16', 'avx512_vnni', 'amx_bf16', 'asimd', 'sve', 'bf16')


def machine(device: str) -> dict[str, Any]:
    """Processor, instruction sets, GPU and versions; plain values."""
    found = {package.metadata['Name'].lower(): package.version for package in metadata.distributions()}
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.is_file() else []
    processor = {key.strip(): value.strip() for key, _, value in (line.partition(':') for line in lines)}
    flags = processor.get('flags', processor.get('Features', '')).split()
    facts: dict[str, Any] = {
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'processor': processor.get('model name') or platform.processor() or platform.machine(),
        'instructions': [name for name in _INSTRUCTIONS if name in flags],
        'cores': os.cpu_count(),
        'load': os.getloadavg()[0],
        'python': platform.python_version(),
        'versions': {name: found[name] for name in _PACKAGES if name in found},
    }
    if torch.device(device).type == 'cuda':
        properties = torch.cuda.get_device_properties(device)
        facts |= {'gpu': properties.name, 'gpu_bytes': properties.total_memory, 'cuda': torch.version.cuda}
    return facts


def table(result: Mapping[str, Any]) -> str:
    """One case as a Markdown table, the fastest implementation first."""
    every, baseline = result['implementations'], result['baseline']
    ran = {name: [statistics.median(one) for one in found['seconds']]
           for name, found in every.items() if found.get('seconds')}  # fmt: skip
    lines = [f'### {result["label"]}, allocator {result["allocator"]}', '',
             f'| | median | quartiles | times faster than {baseline} | peak memory | error |',
             '|---|---|---|---|---|---|']  # fmt: skip
    for name, rounds in sorted(ran.items(), key=lambda item: statistics.median(item[1])):
        low, median, high = (f'{1e3 * value:.4g} ms' for value in np.percentile(rounds, _QUARTILES))
        ratios = [slow / fast for slow, fast in zip(ran.get(baseline, ()), rounds)] or float('nan')
        least, usual, most = np.percentile(ratios, _QUARTILES)
        found = every[name]
        lines.append(
            f'| {name} | {median} | {low} to {high} | {usual:.2f} ({least:.2f} to {most:.2f}) '
            f'| {(found["peak_bytes"] or 0) / 1e6:.0f} MB | {found["error"]:.1e} |'
        )
    lines += [f'\nLeft out: {name}: {one["left_out"]}.' for name, one in every.items() if 'left_out' in one]
    return '\n'.join(lines) + '\n'


def document(values: Mapping[str, Any]) -> str:
    """A benchmark's file as Markdown: what it ran on and how, then the tables."""
    found, settings = values['machine'], values['settings']
    processor = f'{found["processor"]} ({", ".join(found["instructions"])}), {found["cores"]} cores'
    versions = ', '.join(f'{name} {version}' for name, version in found['versions'].items())
    parts = [
        f'{found["date"]}, {found.get("gpu") or processor}, {settings["threads"]} threads, OMP_WAIT_POLICY '
        f'{settings["wait_policy"]}, load {found["load"]:.1f} before, Python {found["python"]}, {versions}. '
        f'{settings["rounds"]} rounds of {settings["repetitions"]} repetitions in alternating order, each '
        'implementation in a process of its own. Ratios are taken round by round: median and quartiles. Error: the '
        'largest difference of a map (in training, or gradient) from the baseline in float32, relative, rms.\n'
    ]  # fmt: skip
    for name, one in values.get('backends', {}).items():
        verdict = one.get('left_out') or ('agrees' if one['agrees'] else 'DOES NOT AGREE')
        parts.append(f'- {name}, values and gradients against `reference` in float64: {verdict}\n')
    return '\n'.join([*parts, *(table(result) for result in values['results'])])
