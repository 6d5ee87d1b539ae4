"""Train a detector or a segmentation model: mmswin train CONFIG [options]."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import add_config, add_run_options, command_parser, run_options, whole


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'train',
        'Train a model from a config of mmdet or mmseg. Several GPUs: torchrun --nproc-per-node 8 -m mmswin train CONFIG '
        '--launcher pytorch.',
        'mask_rcnn_swin_t_coco --amp --work-dir runs/first',
        'mask_rcnn_swin_t_coco --resume --cfg-options train_dataloader.batch_size=4',
    )
    add_config(parser)
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
        '--auto-scale-lr',
        action='store_true',
        help='scale the learning rate by the batch size over auto_scale_lr.base_batch_size',
    )
    parser.add_argument('--seed', type=whole(0), help='random seed')
    parser.add_argument('--deterministic', action='store_true', help='use deterministic algorithms (slower)')
    parser.add_argument(
        '--overwrite', action='store_true', help='train into a work dir that holds the checkpoints of an earlier run'
    )
    parser.add_argument(
        '--ignore-lock', action='store_true', help='train in a work dir in which another run seems to be under way'
    )
    add_run_options(parser)
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    options = run_options(args)
    from mmswin.engine.launch import train

    train(**options)
