#!/usr/bin/env python
"""Check the data of a configuration without training."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def parse_args() -> argparse.Namespace:
    from mmengine.config import DictAction

    parser = argparse.ArgumentParser(
        description='Find faults of the data that a configuration names: missing files, broken annotation files, '
        'classes that do not match the model. Trains nothing. Exit status 1 if there is an error.')
    parser.add_argument('config', help='configuration file')
    parser.add_argument(
        '--split', nargs='+', choices=('train', 'val', 'test'), default=['train', 'val'], help='default: train val')
    parser.add_argument('--decode', action='store_true', help='also read every image to its end (slow)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, metavar='KEY=VALUE', help='override settings')
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    from mmengine.config import Config

    from mmswin.datasets.checks import inspect_config

    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    start = time.perf_counter()
    report = inspect_config(cfg, args.split, args.decode)
    for line in report.summaries:
        print(line)
    for finding in report.findings:
        print(finding)
    warnings = len(report.findings) - report.num_errors
    print(f'{report.num_errors} errors, {warnings} warnings in {time.perf_counter() - start:.1f} s')
    return 1 if report.num_errors else 0


if __name__ == '__main__':
    sys.exit(main())
