"""Commands whose output goes to a log while a line now and then tells how far they are."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mmswin.environment.stacks import SETUPTOOLS, TORCH_CPU_INDEX, SetupError

# What an installer, a compiler or the system write into the log, and what it means to the person waiting.
_MEANINGS = {
    r'No space left on device|os error 28': 'The disk is full. Free some space (the set-up needs 5 GiB, 15 for CUDA), '
    'then run `make setup` again.',
    rf'no version of torch==\S+\+cpu|{TORCH_CPU_INDEX}': 'There is no CPU build of this torch on the indexes that '
    "pip is set up with, and torch's own index has none or cannot be reached. Choose another release (make setup "
    'TORCH=...), or the standard build, several GB larger, which runs on the CPU as well: make setup TORCH_BUILD=cuda',
    r'establish a new connection|[Nn]ame or service not known|name resolution|Network is unreachable|Max retries'
    r'|Could not resolve host|ProxyError|Connection refused|client error \(Connect\)|dns error|timed out': 'No package '
    'index can be reached. Check the network (and proxy or PIP_INDEX_URL, if you use one), then run `make setup` again; '
    'what is already there is kept.',
    r"No module named '?pkg_resources": 'setuptools has no pkg_resources, which mmcv needs: releases from 81 on drop '
    'it. Remove any setting that asks for a newer one and run `make setup` again; in an environment of your own: '
    f"pip install '{SETUPTOOLS}'",
    r'ensurepip is not available|No module named ensurepip|No module named venv': 'This Python cannot create virtual '
    'environments. Install its venv module (Debian, Ubuntu: apt install python3-venv) or choose another Python: make '
    'setup PYTHON=...',
    r'mismatches the version that was used to compile': 'nvcc is not of the CUDA that this torch is made for. Name the '
    'folder of its toolkit in CUDA_HOME, choose another torch (make setup TORCH=...), or use the CPU: make setup '
    'TORCH_BUILD=cpu',
    r'[Kk]illed signal terminated program|out of memory|memory exhausted': 'The compiler ran out of memory. Close other '
    'programs, or compile fewer files at once: make setup MAX_JOBS=1',
    r'Python\.h: No such file': "Python's headers are missing. Install them (Debian, Ubuntu: apt install python3-dev) "
    'or choose a Python that has them: make setup PYTHON=...',
}


def explain(log: str) -> str | None:
    """What a log's text shows to have gone wrong, with the remedy; None when nothing known is in it."""
    return next((meaning for pattern, meaning in _MEANINGS.items() if re.search(pattern, log)), None)


class CommandError(SetupError):
    """A command ended with an error."""


class Shell:
    """Runs commands into ``log``, with a line on standard output every ``interval`` seconds."""

    def __init__(self, log: Path, interval: float = 20.0) -> None:
        self.log = log
        self.interval = interval
        self.started = time.monotonic()

    def say(self, text: str) -> None:
        """A line with the minutes and seconds since the set-up began."""
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        print(f'{text}  ({minutes}:{seconds:02d})', flush=True)

    def run(self, command: list[str], what: str, env: dict[str, str] | None = None, status: Callable = str) -> str:
        """Run a command and return what it wrote, which also goes to the log.

        ``what`` it does is for messages, ``status`` says in words how far it is (else the last line of the log does).

        Raises:
            CommandError: the command failed; the message names the cause where the log shows it, and the log.
        """
        with open(self.log, 'ab') as log:
            log.write(f'\n$ {" ".join(command)}\n'.encode())
            log.flush()
            begin = log.tell()
            try:
                process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
            except OSError as error:
                raise CommandError(f'{what} failed: {command[0]} cannot be run ({error.strerror}).') from error
            try:
                while process.returncode is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(self.interval)
                        break
                    self.say(f'      {what}: {status() or last_lines(self._written(begin), 1).strip()}')
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        output = self._written(begin)
        if process.returncode != 0:
            reason = explain(output) or f'The last lines were:\n{last_lines(output)}'
            raise CommandError(f'{what} failed. {reason}\nThe full log is {self.log}')
        return output

    def _written(self, begin: int) -> str:
        return self.log.read_bytes()[begin:].decode(errors='replace')


def last_lines(text: str, count: int = 12) -> str:
    """The last lines of a text that are not empty, indented, each cut to 200 characters."""
    lines = [line for line in text.replace('\r', '\n').splitlines() if line.strip()]
    return '\n'.join(f'  {line[:200]}' for line in lines[-count:])
