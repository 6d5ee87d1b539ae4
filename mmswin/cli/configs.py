"""List the configurations that come with mmswin, or copy one: mmswin configs [PATTERN | copy NAME FILE]."""

import argparse
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mmswin import shipped
from mmswin.cli.parsing import command_parser
from mmswin.errors import RunError, nearest


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    parser = command_parser(
        'configs',
        'List the names of the configs that come with mmswin (any command takes such a name in place of a file), or '
        'copy one to edit it.',
        "'*finetune*'",
        'copy mask_rcnn_swin_t_finetune mine.py',
    )
    parser.add_argument('words', nargs='*', metavar='PATTERN | copy NAME FILE', help='part of a name, or what to copy')
    parser.add_argument('--where', action='store_true', help='print the directory they are in')
    parser.add_argument('--overwrite', action='store_true', help='replace FILE if it exists')
    args = parser.parse_args(argv)
    copies = args.words[:1] == ['copy']
    if (copies and len(args.words) != 3) or (not copies and len(args.words) > 1):
        parser.error('expected one PATTERN, or copy NAME FILE')
    return args


def list_configs(pattern: str) -> None:
    pattern = pattern if any(sign in pattern for sign in '*?[') else f'*{pattern}*'
    found = [name for name in shipped.names() if fnmatchcase(name, pattern)]
    if not found:
        raise RunError(f'no config matches {pattern!r}; mmswin configs lists all')
    print('\n'.join(found))


def copy_config(name: str, file: str, overwrite: bool) -> None:
    name = name.removesuffix('.py')
    if name not in shipped.names():
        raise RunError(f'no config is named {name!r}{nearest(name, shipped.names())}; mmswin configs lists all')
    target = Path(file)
    if target.suffix != '.py':
        raise RunError(f'{target} must end in .py')
    if target.exists() and not overwrite:
        raise RunError(f'{target} exists; add --overwrite or name another file')
    if not target.parent.is_dir():
        raise RunError(f'there is no directory {target.parent}')
    target.write_text(shipped.editable_copy(name), encoding='utf-8')
    print(f'written: {target}')


def run(args: argparse.Namespace) -> None:
    if args.where:
        print(shipped.directory())
    elif args.words[:1] == ['copy']:
        copy_config(*args.words[1:], args.overwrite)
    else:
        list_configs(args.words[0] if args.words else '')
