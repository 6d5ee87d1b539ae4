"""What the commands' parsers have in common."""

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from mmswin.errors import nearest

_TRUST = (
    'read the checkpoint even if it holds more than weights, which can run code: only for files whose origin you trust'
)


def command_parser(name: str, description: str, *examples: str) -> argparse.ArgumentParser:
    """A parser for ``mmswin NAME`` whose help ends with examples.

    Args:
        name: The command.
        description: What it does, and its exit status where that says more than success.
        examples: Words after ``mmswin NAME``.
    """
    lines = '\n'.join(f'  mmswin {name} {words}'.rstrip() for words in examples)
    return _Parser(
        prog=f'mmswin {name}',
        description=description,
        epilog=f'example{"s" if len(examples) > 1 else ""}:\n{lines}',
        formatter_class=_Formatter,
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in a line, and not the whole usage; of an unknown option, which one is like it."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, which can say no more of an unknown option than that it is one."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown and not any(word.startswith('-') for word in unknown):
            # Of arguments of any number, it looks for none behind the first option.
            parsed, unknown = self.parse_known_intermixed_args(args)
        if unknown:
            option = next((word for word in unknown if word.startswith('-')), '')
            name = option.partition('=')[0]
            self.error(
                f'there is no option {name}{nearest(name, self._option_string_actions)}'
                if option
                else f'more words than expected: {" ".join(unknown)}'
            )
        return parsed

    def error(self, message: str) -> NoReturn:
        """End the process with exit status 2."""
        print(f'error: {message.removeprefix("argument ")} ({self.prog} --help says more)', file=sys.stderr)
        sys.exit(2)


def whole(least: int = 1) -> Callable[[str], int]:
    """What reads an option's value that is a whole number, at least ``least``."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r} is no whole number') from None
        if value < least:
            raise argparse.ArgumentTypeError(f'{text} is less than {least}')
        return value

    return read


def part(text: str) -> float:
    """Read an option's value that is a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 0 to 1')
    return value


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Fills the description, and leaves the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith('example'):
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG and ``--cfg-options``."""
    parser.add_argument('config', help='config file, or the name of one that mmswin configs lists')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        metavar='KEY=VALUE',
        help='change entries of the config: a.b.c=1 a.list="[1,2]" pipeline.0.prob=0.5; a key that nothing reads is '
        'refused, +KEY=VALUE adds it all the same',
    )


def add_speed_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--amp`` and ``--tune-cpu``."""
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'bf16', 'fp16'],
        help='mixed precision; without a kind: bfloat16 where the hardware has it, else float16; boxes stay float32',
    )
    parser.add_argument(
        '--tune-cpu', action='store_true', help='let the process keep the memory it frees: faster on a CPU (Linux)'
    )


def add_output_options(parser: argparse.ArgumentParser, help: str) -> None:
    """Add ``--out`` and ``--overwrite`` of commands that write pictures."""
    parser.add_argument('--out', metavar='DIR', required=True, help=help)
    parser.add_argument('--overwrite', action='store_true', help='write into a directory that is not empty')


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing share."""
    parser.add_argument(
        '--work-dir',
        metavar='DIR',
        help="where the log and the results go (default: the config's, else ./work_dirs/CONFIG_NAME)",
    )
    add_speed_options(parser)
    parser.add_argument('--trust-checkpoint', action='store_true', help=_TRUST)
    parser.add_argument(
        '--skip-data-check',
        action='store_true',
        help='go on whatever the checks of the data and of numbers of classes find',
    )
    parser.add_argument(
        '--skip-preflight',
        action='store_true',
        help='go on without any check of model, weights, data and parts of the run',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=whole(0), default=0, help=argparse.SUPPRESS)


def run_options(args: argparse.Namespace) -> dict[str, Any]:
    """Say to mmengine which process of its machine this is, and return what the run itself takes."""
    options = vars(args)
    local_rank = options.pop('local_rank')
    if options['launcher'] == 'pytorch':  # the others have variables of their own
        os.environ.setdefault('LOCAL_RANK', str(local_rank))
    return options


def add_predictor_options(parser: argparse.ArgumentParser) -> None:
    """Add what makes a predictor: configuration, checkpoint, device."""
    add_config(parser)
    add_checkpoint(parser)
    parser.add_argument('--device', help='such as cuda:1 or cpu (default: the GPU where there is one)')


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add CHECKPOINT and ``--trust-checkpoint``."""
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--trust-checkpoint', action='store_true', help=_TRUST)
