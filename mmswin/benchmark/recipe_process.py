"""One turn of an end-to-end benchmark: python -m mmswin.benchmark.recipe_process ORDER.json RESULT.json.

Trains or tests as tools/train.py and tools/test.py do, with :class:`mmswin.benchmark.measure_hook.MeasureHook`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

import mmswin.benchmark.measure_hook  # noqa: F401  the config names it
from mmswin.conversion.torchvision_operators import make_importable
from mmswin.engine.launch import test, train
from mmswin.errors import run_tool


def run(order: dict[str, Any]) -> None:
    """Do what an order says.

    Args:
        order: ``config``, ``checkpoint`` and ``work_dir`` (paths), ``mode``, ``threads``.
    """
    make_importable()  # mmengine imports torchvision where there is one, as with PYTHONPATH=.venv/peers
    torch.set_num_threads(order['threads'])
    if order['mode'] == 'training':
        train(order['config'], work_dir=order['work_dir'], load_from=order['checkpoint'], seed=0, overwrite=True)
    else:
        test(order['config'], order['checkpoint'], work_dir=order['work_dir'], overwrite=True)


if __name__ == '__main__':
    # The hook of the config writes the result.
    sys.exit(run_tool(lambda: run(json.loads(Path(sys.argv[1]).read_text()))))
