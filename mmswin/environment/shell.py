"""Commands whose output goes to a log while one line tells how far they are."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from mmswin.environment.stacks import EnvironmentProblem

QUIET_SECONDS = 20.0

# What pip, a compiler or the system write into the log, and what it means to the person waiting.
DIAGNOSES = (
    (r'No space left on device|Errno 28', 'The disk is full. Free some space, then run `make setup` again.'),
    (
        r'Failed to establish a new connection|Temporary failure in name resolution|Name or service not known'
        r'|Network is unreachable|ConnectTimeoutError|Max retries exceeded|NewConnectionError|NameResolutionError'
        r'|Could not resolve host|ProxyError|Connection refused',
        'No package index can be reached. Check the network (and proxy or PIP_INDEX_URL, if you use one), then run '
        '`make setup` again; what is already installed is kept.',
    ),
    (
        r"No module named '?pkg_resources",
        'setuptools has no pkg_resources, which mmcv needs: releases from 81 on drop it. Remove any setting that '
        'asks for a newer one (PIP_CONSTRAINT?) and run `make setup` again; in an environment of your own: '
        "pip install 'setuptools<81'",
    ),
    (
        r'ensurepip is not available|No module named ensurepip|No module named venv',
        'This Python cannot create virtual environments: its venv module is incomplete. Install it (Debian, Ubuntu: '
        'apt install python3-venv) or choose another: make setup PYTHON=...',
    ),
    (
        r'[Kk]illed signal terminated program|out of memory|virtual memory exhausted',
        'The compiler ran out of memory. Close other programs, or compile fewer files at once: make setup MAX_JOBS=1',
    ),
    (
        r'Python\.h: No such file',
        "Python's headers are missing. Install them (Debian, Ubuntu: apt install python3-dev), then run `make setup` "
        'again.',
    ),
)


def diagnose(log: str) -> str | None:
    """What a log's text shows to have gone wrong, with the remedy; None when nothing known is in it."""
    for pattern, meaning in DIAGNOSES:
        if re.search(pattern, log):
            return meaning
    return None


class CommandFailed(EnvironmentProblem):
    """A command ended with an error; ``output`` is what it wrote."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


class Shell:
    """Runs commands into ``log``; prints steps, notes, and one line of progress that a terminal updates in place."""

    def __init__(
        self,
        log: Path,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        poll: float = 0.5,
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self.log = log
        self.out = out or sys.stdout
        self.clock = clock
        self.poll = poll
        self.quiet = quiet
        self.started = clock()
        self.live = False

    def say(self, text: str) -> None:
        self.clear()
        print(text, file=self.out, flush=True)

    def step(self, number: int, total: int, text: str) -> None:
        """One numbered line, with the time since the set-up began."""
        self.say(f'[{number}/{total}] {text}  ({elapsed(self.clock() - self.started)})')

    def note(self, text: str) -> None:
        self.say(f'      {text}')

    def progress(self, text: str) -> None:
        """A line about work going on: rewritten in place on a terminal, printed anew elsewhere."""
        line = f'      {text}'
        if self.out.isatty():
            print(f'\r\x1b[K{line[:110]}', end='', file=self.out, flush=True)
            self.live = True
        else:
            print(line, file=self.out, flush=True)

    def clear(self) -> None:
        if self.live:
            print('\r\x1b[K', end='', file=self.out, flush=True)
            self.live = False

    def run(
        self,
        command: list[str],
        what: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        status: Callable[[], str] | None = None,
    ) -> str:
        """Runs a command and returns what it wrote, which also goes to the log.

        Args:
            command: program and arguments.
            what: what it does, for messages: 'installing torch'.
            env: the whole environment of the command, or None for this process's.
            cwd: where it runs.
            status: how far it is, in words; without it the last line of the log is shown.

        Raises:
            CommandFailed: the command failed; the message names the cause where the log shows it, and the log.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, 'ab') as log:
            log.write(f'\n$ {" ".join(map(str, command))}\n'.encode())
            log.flush()
            begin = log.tell()
            try:
                process = subprocess.Popen(
                    [str(part) for part in command],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env=env,
                    cwd=cwd,
                )
            except OSError as error:
                raise CommandFailed(f'{what} failed: {command[0]} cannot be run ({error.strerror}).', '') from error
            try:
                self._watch(process, what, begin, status)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
                self.clear()
        output = self._written(begin)
        if process.returncode != 0:
            reason = diagnose(output) or f'The last lines were:\n{last_lines(output)}'
            raise CommandFailed(f'{what} failed. {reason}\nThe full log is {self.log}', output)
        return output

    def _watch(self, process: subprocess.Popen, what: str, begin: int, status: Callable[[], str] | None) -> None:
        interval = 1.0 if self.out.isatty() else self.quiet
        started = shown = self.clock()
        while not self._ended(process):
            now = self.clock()
            if now - shown >= interval:
                shown = now
                text = status() if status else last_lines(self._written(begin), 1).strip()
                self.progress(f'{what}, {elapsed(now - started)}: {text}')

    def _ended(self, process: subprocess.Popen) -> bool:
        try:
            process.wait(self.poll)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _written(self, begin: int) -> str:
        with open(self.log, 'rb') as log:
            log.seek(begin)
            return log.read().decode(errors='replace')


def elapsed(seconds: float) -> str:
    """'0:07', '4:31', '1:02:03'."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes}:{seconds:02d}'


def last_lines(text: str, count: int = 8) -> str:
    lines = [line for line in text.replace('\r', '\n').splitlines() if line.strip()]
    return '\n'.join(f'  {line[:200]}' for line in lines[-count:])
