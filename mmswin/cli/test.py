"""Test a checkpoint: mmswin test CONFIG CHECKPOINT [options]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import mmswin
from mmswin.cli.parsing import add_cfg_options, command_parser, parse_with_launcher
from mmswin.errors import run_tool


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser(
        'test',
        'Test a checkpoint with a config of mmdet or mmseg.',
        'mask_rcnn_swin_t_coco work_dirs/mask_rcnn_swin_t_coco/epoch_36.pth --show-dir shown',
    )
    parser.add_argument('config', help='config file, or the name of one that mmswin configs lists')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="where the log and the figures go (default: the config's, else ./work_dirs/CONFIG_NAME)",
    )
    parser.add_argument('--out', metavar='FILE.pkl', help='pickle the predictions into this file')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into this directory')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'bf16', 'fp16'],
        help='predict in mixed precision: bfloat16 where the hardware has it; boxes stay float32',
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    add_cfg_options(parser)
    parser.add_argument('--overwrite', action='store_true', help='write over an existing --out and into --show-dir')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read the checkpoint even if it holds more than weights, which can run code: '
        'only for files whose origin you trust',
    )
    return parse_with_launcher(parser, argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = vars(parse_args(argv))
    if arguments.pop('tune_cpu'):
        mmswin.tune_cpu()
    from mmswin.engine.launch import test

    return run_tool(lambda: test(**arguments))
