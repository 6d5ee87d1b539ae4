"""Upgrade a config of mmdet 2.x or mmseg 0.x: python tools/upgrade_config.py OLD.py [NEW.py] [options]."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Turn a config of the authors' repositories, or any other of mmdet 2.x or mmseg 0.x, into one for "
        "mmdet 3.x or mmseg 1.x with mmswin's backbone. What cannot be translated is named, here and in the head of "
        'the new file. Exit status: 0 all was translated, 1 something was not, 2 the input cannot be used.'
    )
    parser.add_argument('old', metavar='OLD.py', help='the old config, where it finds the files it inherits from')
    parser.add_argument('new', metavar='NEW.py', nargs='?', help='the new file; without it, the text is printed')
    parser.add_argument(
        '--base',
        metavar='CONFIG',
        help='write only what differs from this config, such as one of configs/, and inherit the rest',
    )
    parser.add_argument(
        '--pretrained',
        metavar='FILE_OR_URL',
        help='weights that the backbone starts from, as --cfg-options model.pretrained=... gave them',
    )
    parser.add_argument('--strict', action='store_true', help='write nothing when something cannot be translated')
    parser.add_argument('--overwrite', action='store_true', help='replace NEW.py if it exists')
    return parser.parse_args()


def main() -> int:
    arguments = vars(parse_args())
    from mmswin.errors import run_tool
    from mmswin.upgrade.files import upgrade_file

    status = 0

    def work() -> None:
        nonlocal status
        text, messages, complete = upgrade_file(**arguments)
        if text is not None:
            print(text, end='')
        for message in messages:
            print(message, file=sys.stderr)
        status = 0 if complete else 1

    return run_tool(work) or status


if __name__ == '__main__':
    sys.exit(main())
