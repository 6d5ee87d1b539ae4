"""Say what a Swin checkpoint is: python tools/inspect_checkpoint.py FILE."""

import argparse
import sys


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Say what a checkpoint is: format, variant and what to set in a config, window, image size, '
        'classes, training state, provenance. Nothing in the file is run.'
    )
    parser.add_argument('file', help='file or URL')
    return parser.parse_args()


def main() -> int:
    arguments = vars(parse_args())
    from mmswin.backbones.swin import VARIANTS
    from mmswin.checkpoints.inspect_file import inspect_file
    from mmswin.errors import run_tool

    def work() -> None:
        for what, value in inspect_file(**arguments, variants=VARIANTS):
            print(f'{what:<10} {value}')

    return run_tool(work)


if __name__ == '__main__':
    sys.exit(main())
