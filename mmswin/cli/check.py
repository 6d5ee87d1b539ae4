"""Check the data of a config without training: mmswin check CONFIG [options]."""

import argparse
import time
from collections.abc import Sequence

from mmswin.cli.parsing import add_config, command_parser
from mmswin.errors import say


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'check',
        'Find faults of the data that a config names, without training: missing files, broken annotation '
        'files, classes that do not match the model. Exit status: 0 no error, 1 errors, 2 an unusable config.',
        'mask_rcnn_swin_t_coco --decode',
    )
    add_config(parser)
    parser.add_argument(
        '--split',
        nargs='+',
        choices=('train', 'val', 'test'),
        default=['train', 'val'],
        help='parts of the data to check (default: train val)',
    )
    parser.add_argument('--decode', action='store_true', help='also read every image to its end (slow)')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    from mmswin.data.checks import inspect_config
    from mmswin.engine.configure import load_config

    start = time.perf_counter()
    report = inspect_config(load_config(args.config, args.cfg_options, None), args.split, args.decode)
    for line in (*report.summaries, *report.findings):
        say(line)
    warnings = len(report.findings) - report.num_errors
    print(f'{report.num_errors} errors, {warnings} warnings, {time.perf_counter() - start:.1f} s')
    if any(finding.level == 'error' and not finding.absent for finding in report.findings):
        print('if these are right as they are: mmswin train --skip-data-check')
    return 1 if report.num_errors else 0
