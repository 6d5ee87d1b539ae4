"""Compare the configurations with the paper's tables: mmswin table [--table 2a] [--only PATTERN]."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from mmswin import shipped
from mmswin.cli.parsing import command_parser
from mmswin.errors import RunError, say


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'table',
        "Build the configuration of each row of the paper's tables, count its parameters and FLOPs "
        "(multiply-adds) by the paper's protocol, and print them next to the published figures. Exit status 1 when "
        'one is off by more than the tolerance (0.5 M parameters, 1 % of the FLOPs) for no known reason.',
        '--table 2b --only deit',
    )
    parser.add_argument('--table', metavar='NAME', help='one table: 2a, 2b, 2c, 3, 4, coco_released, ade_released')
    parser.add_argument(
        '--only',
        metavar='PATTERN',
        help='rows whose method, backbone or configuration contains this (or matches it, with *)',
    )
    parser.add_argument('--json', metavar='FILE', help='write the rows and the counts into this file')
    parser.add_argument('--overwrite', action='store_true', help='write over an existing FILE')
    parser.add_argument(
        '--tables',
        metavar='FILE',
        default=str(shipped.directory() / 'paper_tables.yaml'),
        help='the file of tables, next to the configurations it names (paper_tables.yaml of mmswin)',
    )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Print the comparison; the exit status."""
    from mmswin.analysis import paper, reports

    target = Path(args.json) if args.json else None
    if target is not None and target.exists() and not args.overwrite:
        raise RunError(f'--json: {target} exists; add --overwrite or name another file')
    if target is not None and not target.parent.is_dir():
        raise RunError(f'--json: there is no directory {target.parent}')
    rows = paper.select(paper.load_tables(args.tables), args.table, args.only)
    comparisons = paper.compare(rows, Path(args.tables).parent)
    say(reports.paper_text(comparisons))
    if target is not None:
        target.write_text(json.dumps(reports.paper_json(comparisons), indent=2) + '\n', encoding='utf-8')
        print(f'written: {target}')
    return int(any(one.problems for one in comparisons))
