"""Runs inside an environment and prints what is there, a JSON object a line, for the doctor to judge.

Each line is printed as soon as it is known, so that a library that crashes the interpreter is the one after the last.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any


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


def mmswin_facts() -> dict[str, Any]:
    """Whether mmengine finds the backbone by its name and it runs."""
    import torch
    from mmengine.registry import MODELS

    import mmswin

    model = MODELS.build(dict(type='mmswin.SwinTransformer', embed_dims=4, num_heads=(1, 1, 1, 1), depths=(1, 1, 1, 1)))
    model(torch.zeros(1, 3, 32, 32))
    return dict(version=mmswin.__version__)


def mmpretrain_facts() -> dict[str, Any]:
    """What is installed apart from the environment, for classification; nothing of it is imported."""
    from mmswin.environment.importable import mmpretrain_folder

    folder = str(mmpretrain_folder())
    return dict(
        folder=folder, apart={d.metadata['Name'].lower(): d.version for d in metadata.distributions(path=[folder])}
    )


_IMPORTS = ('numpy', 'pkg_resources', 'cv2', 'mmengine', 'mmcv', 'mmdet', 'mmseg')
FACTS: dict[str, Callable[[], Any]] = {
    'python': lambda: dict(version=list(sys.version_info[:3]), executable=sys.executable, platform=sys.platform),
    # One without a name is what an interrupted removal has left.
    'distributions': lambda: {
        name.lower(): found.version for found in metadata.distributions() if (name := found.metadata['Name'])
    },
    'torch': torch_facts,
    **{name: functools.partial(import_facts, name) for name in _IMPORTS},
    'ops': ops_facts,
    'mmpretrain': mmpretrain_facts,
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
            line = {'name': name, 'error': f'{type(error).__name__}: {text}'}
        print(json.dumps(line), flush=True)


if __name__ == '__main__':
    main()
