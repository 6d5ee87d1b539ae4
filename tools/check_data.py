"""Check the data of a config without training: python tools/check_data.py CONFIG [options]."""

import argparse
import sys
import time

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Find faults of the data that a config names, without training: missing files, broken annotation '
        'files, classes that do not match the model. Exit status: 0 no error, 1 errors, 2 an unusable config.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--split',
        nargs='+',
        choices=('train', 'val', 'test'),
        default=['train', 'val'],
        help='parts of the data to check (default: train val)',
    )
    parser.add_argument('--decode', action='store_true', help='also read every image to its end (slow)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change entries of the config, as in tools/train.py',
    )
    return parser.parse_args()


def check(config: str, split: list[str], decode: bool, cfg_options: dict | None) -> int:
    from mmswin.data.checks import inspect_config
    from mmswin.engine.configure import load_config

    start = time.perf_counter()
    report = inspect_config(load_config(config, cfg_options, None), split, decode)
    for line in (*report.summaries, *report.findings):
        print(line)
    warnings = len(report.findings) - report.num_errors
    print(f'{report.num_errors} errors, {warnings} warnings, {time.perf_counter() - start:.1f} s')
    return 1 if report.num_errors else 0


def main() -> int:
    arguments = vars(parse_args())
    from mmswin.errors import run_tool

    status = 0

    def work() -> None:
        nonlocal status
        status = check(**arguments)

    return run_tool(work) or status


if __name__ == '__main__':
    sys.exit(main())
