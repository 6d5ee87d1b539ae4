"""How the demo shows a tool at work: a line for each step, and all of the output in a file."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

_TRAINED = re.compile(r'Iter\(train\) \[ *(\d+)/(\d+)\].* loss: ([\d.naif]+)')
_TESTED = re.compile(r'Iter\((?:val|test)\) \[ *(\d+)/(\d+)\]')
# Figures of a validation; those of mmseg are in percent.
_AP = re.compile(r'coco/(bbox|segm)_mAP_50: (-?[\d.]+)')
_IOU = re.compile(r'\bmIoU: ([\d.]+)')


class DemoError(RuntimeError):
    """A step of the demo failed; the message says which, and where its output is."""


def duration(seconds: float) -> str:
    """Seconds for people: ``'45 s'``, ``'3 min 20 s'``."""
    whole = max(0, round(seconds))
    return f'{whole} s' if whole < 60 else f'{whole // 60} min {whole % 60:02d} s'


def shown(path: Path) -> str:
    """A path for people: relative to the current directory if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class Progress:
    """Turns the log of a tool into a line for each step, with the time left, which counts validations as well."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._in_banner = False

    def feed(self, line: str) -> None:
        """Take one line of the tool's output."""
        line = line.rstrip()
        # The banner is one log entry of several lines, of which those behind the first are indented.
        self._in_banner = 'This run (' in line or (self._in_banner and line.startswith('  '))
        if self._in_banner:
            self._say('  ' + line[max(line.find('This run ('), 0) :])
            return
        scores = dict(_AP.findall(line))
        if scores:
            names = {'bbox': 'box', 'segm': 'mask'}
            self._say('  ' + ', '.join(f'{names[kind]} AP50 {float(score):.3f}' for kind, score in scores.items()))
        elif match := _IOU.search(line):
            self._say(f'  mIoU {float(match[1]) / 100:.3f}')
        elif match := _TRAINED.search(line):
            done, total, loss = int(match[1]), int(match[2]), match[3]
            now = self._clock()
            if self._first is None:
                self._first = (done, now)
            begun, start = self._first
            left = f', {duration((now - start) / (done - begun) * (total - done))} left' if done > begun else ''
            self._say(f'  iteration {done:>{len(match[2])}}/{total}, loss {float(loss):.2f}{left}')
        elif (match := _TESTED.search(line)) and self._first is None:
            self._say(f'  batch {match[1]}/{match[2]}')
        elif ' - ERROR - ' in line or line.startswith('error: '):
            self._say('  ' + line)


def run_tool(command: Sequence[str], log: Path, root: Path, say: Callable[[str], None]) -> None:
    """Run a tool, its output into ``log`` and in short to ``say``.

    Raises:
        DemoError: It failed.
    """
    progress, last = Progress(say), deque(maxlen=25)
    # Threads that spin while they wait make a machine that has other work to do several times slower.
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ, 'PYTHONUNBUFFERED': '1'}
    with (
        log.open('w') as full,
        subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors='replace',
        ) as process,
    ):  # fmt: skip
        for line in process.stdout:
            full.write(line)
            full.flush()
            last.append(line)
            progress.feed(line)
    if process.returncode:
        tool = next(Path(word).name for word in command if word.endswith('.py'))
        raise DemoError(
            f'{tool} failed with status {process.returncode}; its last lines:\n{"".join(last)}All of it: {log}'
        )
