"""Say whether what is installed fits together: mmswin doctor. Needs Python alone."""

import argparse
from collections.abc import Sequence

from mmswin.cli.parsing import command_parser
from mmswin.environment import doctor


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'doctor',
        'Say whether torch, mmcv, mmdet, mmseg and mmswin fit together, and what to do about the first that does not. '
        'Exit status 1 when something fails.',
        '',
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    text, well = doctor.diagnose()
    print(text)
    return 0 if well else 1
