"""Convert a Swin checkpoint into a file for another library: mmswin convert SRC DST --to LIBRARY."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import command_parser


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'convert',
        'Convert a Swin checkpoint of any recognised format into a file for another library. What is to be written is '
        'read back and compared first, and where the library is installed both networks are run on one image; on a '
        'difference nothing is written.',
        'swin_tiny_patch4_window7_224.pth swin_t.safetensors --to timm',
    )
    parser.add_argument('source', metavar='SRC', help='file or URL: .pth or .safetensors, with heads or without')
    parser.add_argument('destination', metavar='DST', help='file to write; in the format of safetensors if it ends so')
    parser.add_argument(
        '--to',
        dest='target',
        metavar='LIBRARY',
        required=True,
        help='mmswin, authors, mmdet, mmseg, mmpretrain, timm, torchvision or transformers',
    )
    parser.add_argument('--overwrite', action='store_true', help='replace DST where it exists')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    from mmswin.checkpoints.convert_file import convert_file

    convert_file(**vars(args))
