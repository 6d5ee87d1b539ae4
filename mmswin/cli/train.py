"""Train a detector or a segmentation model: mmswin train CONFIG [options]."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import mmswin
from mmswin.cli.parsing import add_cfg_options, command_parser, parse_with_launcher
from mmswin.errors import run_tool


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = command_parser(
        'train',
        'Train a model from a config of mmdet or mmseg. Several GPUs: torchrun --nproc-per-node 8 -m mmswin train CONFIG '
        '--launcher pytorch.',
        'mask_rcnn_swin_t_coco --amp --work-dir runs/first',
        'mask_rcnn_swin_t_coco --resume --cfg-options train_dataloader.batch_size=4',
    )
    parser.add_argument('config', help='config file, or the name of one that mmswin configs lists')
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="where logs and checkpoints go (default: the config's, else ./work_dirs/CONFIG_NAME)",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on with an interrupted run: from this checkpoint, or without one from the newest '
        'complete checkpoint in the work dir',
    )
    parser.add_argument('--load-from', metavar='CKPT', help='start from the weights of this checkpoint')
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'bf16', 'fp16'],
        help='mixed precision; without a kind: bfloat16 where the hardware has it, else float16',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=int, help='random seed')
    parser.add_argument('--deterministic', action='store_true', help='use deterministic algorithms (slower)')
    add_cfg_options(parser)
    parser.add_argument(
        '--overwrite', action='store_true', help='train into a work dir that holds the checkpoints of an earlier run'
    )
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read the checkpoint of --resume or --load-from even if it holds more than weights, '
        'which can run code: only for files whose origin you trust',
    )
    parser.add_argument(
        '--ignore-lock', action='store_true', help='train in a work dir in which another run seems to be under way'
    )
    return parse_with_launcher(parser, argv)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = vars(parse_args(argv))
    if arguments.pop('tune_cpu'):
        mmswin.tune_cpu()
    from mmswin.engine.launch import train

    return run_tool(lambda: train(**arguments))
