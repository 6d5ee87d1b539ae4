"""Convert a Swin checkpoint: python tools/convert_checkpoint.py SRC DST --to LIBRARY."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Convert a Swin checkpoint of any recognised format into a file for another library. What is '
        'to be written is read back and compared first, and where the library is installed both networks are run on '
        'one image; on a difference nothing is written.'
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
    return parser.parse_args()


def main() -> int:
    arguments = vars(parse_args())
    from mmswin.checkpoints.convert_file import convert_file
    from mmswin.errors import run_tool

    return run_tool(lambda: convert_file(**arguments))


if __name__ == '__main__':
    sys.exit(main())
