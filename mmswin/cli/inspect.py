"""Say what a Swin checkpoint is: mmswin inspect FILE."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import command_parser
from mmswin.errors import say


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'inspect',
        'Say what a checkpoint is: format, variant and what to set in a config, window, image size, classes, training '
        'state, provenance. Nothing in the file is run.',
        'work_dirs/mask_rcnn_swin_t_coco/epoch_12.pth',
    )
    parser.add_argument('file', help='file or URL')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    from mmswin.backbones import SwinMLP, SwinTransformer, SwinTransformerV2
    from mmswin.checkpoints.inspection import inspect_file

    networks = SwinTransformer, SwinTransformerV2, SwinMLP
    for what, value in inspect_file(args.file, {network.__name__: network.variants for network in networks}):
        say(f'{what:<10} {value}')
