"""Test a checkpoint: mmswin test CONFIG CHECKPOINT [options]."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import add_config, add_run_options, command_parser, run_options


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'test',
        'Test a checkpoint with a config of mmdet or mmseg.',
        'mask_rcnn_swin_t_coco work_dirs/mask_rcnn_swin_t_coco/epoch_36.pth --show-dir shown',
    )
    add_config(parser)
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out', metavar='FILE.pkl', help='pickle the predictions into this file')
    parser.add_argument('--show-dir', metavar='DIR', help='draw the predictions into this directory')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing --out and into --show-dir')
    add_run_options(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    options = run_options(args)
    from mmswin.engine.launch import test

    test(**options)
