"""Upgrade a config of mmdet 2.x or mmseg 0.x: mmswin upgrade OLD.py [NEW.py] [options]."""

import argparse
import sys
from collections.abc import Sequence

from mmswin import shipped
from mmswin.cli.parsing import command_parser
from mmswin.errors import say


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'upgrade',
        "Turn a config of the authors' repositories, or any other of mmdet 2.x or mmseg 0.x, into one for "
        "mmdet 3.x or mmseg 1.x with mmswin's backbone. The old file is a Python program, and is run, with all that it "
        'inherits from. What cannot be translated is named, here and in the head of the new file. Exit status: 0 all was '
        'translated, 1 something was not, 2 the input cannot be used.',
        'old/mask_rcnn_swin.py new.py --base mask_rcnn_swin_t_coco',
    )
    parser.add_argument('old', metavar='OLD.py', help='the old config, where it finds the files it inherits from')
    parser.add_argument('new', metavar='NEW.py', nargs='?', help='the new file; without it, the text is printed')
    parser.add_argument(
        '--base',
        metavar='CONFIG',
        help='write only what differs from this config, a file or one that mmswin configs lists, and inherit the rest',
    )
    parser.add_argument(
        '--pretrained',
        metavar='FILE_OR_URL',
        help='weights that the backbone starts from, as --cfg-options model.pretrained=... gave them',
    )
    parser.add_argument('--strict', action='store_true', help='write nothing when something cannot be translated')
    parser.add_argument('--overwrite', action='store_true', help='replace NEW.py if it exists')
    args = parser.parse_args(argv)
    args.base = args.base and shipped.resolve(args.base)
    return args


def run(args: argparse.Namespace) -> int:
    from mmswin.upgrade.upgrade_file import upgrade_file

    text, messages, complete = upgrade_file(**vars(args))
    if text is not None:
        print(text, end='')
    for message in messages:
        say(message, sys.stderr)
    return 0 if complete else 1
