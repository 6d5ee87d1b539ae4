"""Runs inside an environment and reports what is there: python probe.py prints one JSON object a line, name and facts.

Each fact stands on its own line as soon as it is known, so that a library that crashes the interpreter is the one after
the last line. Nothing here judges; :mod:`mmswin.environment.doctor` does.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DISTRIBUTIONS = (
    'mmengine', 'mmcv', 'mmcv-lite', 'mmdet', 'mmsegmentation',
    'onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation',
    'numpy', 'setuptools', 'ftfy', 'regex',
)  # fmt: skip


def distributions() -> dict[str, str]:
    """Versions of what is installed under a name that matters here."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def torch_facts() -> dict[str, Any]:
    """Version, build and devices of torch."""
    import torch

    cuda = torch.cuda.is_available()
    devices = range(torch.cuda.device_count()) if cuda else ()
    return dict(
        version=torch.__version__,
        cuda=torch.version.cuda,
        threads=torch.get_num_threads(),
        available=cuda,
        gpus=[[torch.cuda.get_device_name(i), list(torch.cuda.get_device_capability(i))] for i in devices],
        architectures=torch.cuda.get_arch_list() if cuda else [],
    )


def import_facts(name: str) -> dict[str, Any]:
    """Version of a module, imported."""
    return dict(version=getattr(importlib.import_module(name), '__version__', ''))


def ops_facts() -> dict[str, Any]:
    """Whether mmcv's compiled ops can be loaded and run: non-maximum suppression of two boxes, on each device."""
    import torch
    from mmcv.ops import nms

    kept = {}
    for device in ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]:
        boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10]], device=device)
        try:
            kept[device] = nms(boxes, torch.tensor([0.9, 0.8], device=device), 0.5)[1].tolist()
        except RuntimeError as error:
            kept[device] = str(error).strip().splitlines()[0]
    return kept


def demanded_range(package: str) -> list[str] | None:
    """Lowest version and first too high one of mmcv that mmdet or mmseg accept, read without importing them."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).read_text(encoding='utf-8')
    low = re.search(r'^(?:mmcv_minimum_version|MMCV_MIN)\s*=\s*[\'"]([^\'"]+)', text, re.M)
    high = re.search(r'^(?:mmcv_maximum_version|MMCV_MAX)\s*=\s*[\'"]([^\'"]+)', text, re.M)
    return [low.group(1), high.group(1)] if low and high else None


def mmswin_facts() -> dict[str, Any]:
    """Whether mmengine finds the backbone by its name and it runs."""
    import torch
    from mmengine.registry import MODELS

    import mmswin

    model = MODELS.build(dict(type='mmswin.SwinTransformer', embed_dims=4, num_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1)))
    shapes = [list(out.shape) for out in model(torch.zeros(1, 3, 32, 32))]
    return dict(version=mmswin.__version__, place=str(Path(mmswin.__file__).parent), shapes=shapes)


FACTS: dict[str, Callable[[], Any]] = {
    'python': lambda: dict(version=list(sys.version_info[:3]), executable=sys.executable, platform=sys.platform),
    'distributions': distributions,
    'ranges': lambda: {name: demanded_range(name) for name in ('mmdet', 'mmseg')},
    'numpy': lambda: import_facts('numpy'),
    'torch': torch_facts,
    'pkg_resources': lambda: import_facts('pkg_resources'),
    'cv2': lambda: import_facts('cv2'),
    'mmengine': lambda: import_facts('mmengine'),
    'mmcv': lambda: import_facts('mmcv'),
    'mmcv._ext': lambda: import_facts('mmcv._ext'),
    'ops': ops_facts,
    'mmdet': lambda: import_facts('mmdet'),
    'mmseg': lambda: import_facts('mmseg'),
    'ftfy': lambda: import_facts('ftfy'),
    'regex': lambda: import_facts('regex'),
    'mmswin': mmswin_facts,
}


def main() -> None:
    import warnings

    warnings.simplefilter('ignore')
    for name, fact in FACTS.items():
        print(json.dumps({'start': name}), flush=True)
        try:
            line = {'name': name, 'facts': fact()}
        except BaseException as error:  # an import can raise anything, SystemExit included
            text = (str(error).strip().splitlines() or [''])[0]
            line = {'name': name, 'error': f'{type(error).__name__}: {text}', 'missing': getattr(error, 'name', None)}
        print(json.dumps(line), flush=True)


if __name__ == '__main__':
    main()
