"""What a user can fix: errors that the tools print as one line instead of a traceback. Needs nothing but Python."""

import difflib
import os
import re
import reprlib
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from typing import TextIO


class RunError(ValueError):
    """A run that cannot be right, found before or while it goes; the message says what to do."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or is not for this network; the message says why and what to do."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that holds a type which could run code when it is read; the message names the type."""


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the message names the iteration, the terms and the images."""


class SavingError(RuntimeError):
    """A checkpoint could not be written; the message says why, what it needs, and what is there to go on from."""


class BadImageError(RuntimeError):
    """An image could not be loaded where none may be skipped, or too many could not; the message names it."""

    def __init__(self, message: str) -> None:
        # torch raises it again with a worker's traceback in front.
        super().__init__(message.rpartition(f'{type(self).__name__}: ')[2].strip())


class LostProcessError(RuntimeError):
    """Another process of the run has ended, so this one cannot go on; the message says what to look for."""


# mmengine's registry puts one such clause in front of a message for each level of nested building.
_BUILD_CLAUSE = re.compile(r'^(?:class `[^`]+` in \S+: )+')

# How long a process that is not its machine's first leaves it to that one to say what is wrong, in seconds.
_PATIENCE = 10.0

_LONGEST_LINE = 4000

_CONTAINERS = (list, tuple, dict, set, frozenset, bytes, bytearray)
_SHORT = reprlib.Repr()
for _kind in ('OrderedDict', 'Counter'):  # known by name: what is not known is written in full
    setattr(_SHORT, f'repr_{_kind}', _SHORT.repr_dict)
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel, _SHORT.maxtuple, _SHORT.maxlist, _SHORT.maxdict = 4, 20, 20, 20

_LOCAL_RANK_VARIABLES = ('LOCAL_RANK', 'SLURM_LOCALID', 'OMPI_COMM_WORLD_LOCAL_RANK')


def plain_message(error: BaseException) -> str:
    """The error's own words, without the chain of classes that mmengine's registry prepends."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return _BUILD_CLAUSE.sub('', text.strip())


def explain_missing(error: ModuleNotFoundError, needed_by: str) -> ImportError:
    """An ImportError that says which library is missing, what needs it (``'mmswin.backbones'``) and how to get it.

    Use as ``raise explain_missing(error, 'mmswin.registry') from error``.
    """
    missing = (error.name or str(error)).split('.')[0]
    return ImportError(
        f'{needed_by} needs {missing}, which is not installed here. mmswin does not install it by itself, so as not '
        "to replace a stack of yours. Install OpenMMLab's releases with pip install 'mmswin[openmmlab]', or the "
        "maintained forks with pip install 'mmswin[onedl]', or run `make setup` in a checkout; "
        '`mmswin doctor` shows what is there.',
        name=error.name,
    )


def printable(value: object, limit: int = 400) -> str:
    """What a file or a server says, fit for a terminal and a log: escaped, on one line, and not endless.

    Args:
        value: Anything; its ``str`` is taken. Control characters (escape sequences, line breaks), lone surrogates and
            other characters that Python does not print become ``\\x1b`` and the like.
        limit: Longest text that is not cut, in characters.
    """
    # The shortened form of a container is made without making the whole, which may be a thousand times the file's size.
    text = value if isinstance(value, str) else _SHORT.repr(value) if isinstance(value, _CONTAINERS) else str(value)
    cut = text if len(text) <= limit else text[: limit - 3] + '...'
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in cut)


def say(text: object, file: TextIO | None = None) -> None:
    """Print what may hold words of a file or a server: line by line, each :func:`printable`."""
    lines = '\n'.join(printable(line, _LONGEST_LINE) for line in str(text).split('\n'))
    print(lines, file=file or sys.stdout, flush=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """``' (did you mean X?)'`` for a misspelt word, and nothing where no known one is like it."""
    found = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean {found[0]}?)' if found else ''


def is_first_local_process() -> bool:
    """True in the one process of each machine that should print (before any process group exists)."""
    for name in _LOCAL_RANK_VARIABLES:
        if name in os.environ:
            return os.environ[name] == '0'
    return True


def run_tool(main: Callable[[], object]) -> int:
    """Call a tool's work and turn what a user can fix into one line on stderr.

    Args:
        main: The work of the tool.

    Returns:
        The exit status: what the work returns if that is an int, else 0 done, 2 a user error found before the run, 1
        what ended the run on its way (a loss that is not finite, a checkpoint that cannot be saved, an image that cannot
        be loaded, a process that is gone), 130 Ctrl-C. Any other exception passes
        through with its traceback.
    """
    # mmengine's use of it, which nobody who runs a tool can change.
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated as an API')
    try:
        result = main()
    except (RunError, CheckpointError, NonFiniteLossError, SavingError, BadImageError, LostProcessError) as error:
        # The first process may be the one that is gone.
        if not is_first_local_process() and not isinstance(error, LostProcessError):
            # Launchers end all processes when one has ended: ending at once could silence the first one. It ends this
            # one when it has spoken; if it does not, the fault is this process's alone. A handler of the run's may
            # still be there, which would note the signal and go on.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            time.sleep(_PATIENCE)
        say(f'error: {plain_message(error)}', sys.stderr)
        return 2 if isinstance(error, (RunError, CheckpointError)) else 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr, flush=True)
        return 128 + signal.SIGINT
    return result if isinstance(result, int) else 0
