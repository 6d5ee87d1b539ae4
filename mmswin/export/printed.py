"""What exporters print: warnings of their own developers, which no user of a program can do anything about."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from mmswin.errors import RunError


@contextmanager
def held_back(log: Path) -> Iterator[None]:
    """Hold back what is printed meanwhile, by compiled libraries too; it goes to a file where an exporter fails.

    Args:
        log: The file, written over.

    Raises:
        RunError: The exporter's; its message names the file as well.
    """
    with tempfile.TemporaryFile('w+', 1, encoding='utf-8', errors='replace') as printed:
        try:
            with _into(printed.fileno()), redirect_stdout(printed), redirect_stderr(printed):
                yield
        except RunError as error:
            printed.seek(0)
            if words := printed.read():
                log.write_text(words, encoding='utf-8')
                raise RunError(f'{error}; what it printed is in {log}') from error
            raise


@contextmanager
def _into(target: int) -> Iterator[None]:
    """Redirect the process's own output and errors."""
    streams = (1, 2)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(stream) for stream in streams]
    for stream in streams:
        os.dup2(target, stream)
    try:
        yield
    finally:
        for stream, copy in zip(streams, kept):
            os.dup2(copy, stream)
            os.close(copy)
