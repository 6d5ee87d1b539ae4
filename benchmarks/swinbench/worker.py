"""One implementation in a process of its own, that does what lines of JSON say: python -m swinbench.worker JOB.

So no implementation warms another's allocator and caches, and the policy of waiting threads is read, as a process starts.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import mmswin
from swinbench import gpu
from swinbench.cases import Case, Repetition
from swinbench.implementations import build

HERE = Path(__file__).resolve().parents[1]


class WorkerError(Exception):
    """A worker that ended or could not do what it was told; the message says why."""


class Worker:
    """The other end of a worker process."""

    def __init__(self, job: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get('PYTHONPATH')])]
        environment = {**os.environ, **environment, 'PYTHONPATH': os.pathsep.join(paths)}
        command = [sys.executable, '-m', 'swinbench.worker', json.dumps(job)]
        self._log = tempfile.TemporaryFile('w+')  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=environment, text=True
        )

    def tell(self, command: str, **arguments: Any) -> None:
        """Give a command; :meth:`answer` waits for what comes of it."""
        with contextlib.suppress(BrokenPipeError):  # answer() says what happened
            print(json.dumps([command, arguments]), file=self._process.stdin, flush=True)

    def answer(self) -> dict[str, Any]:
        """The answer to the oldest command without one. Raises WorkerError where there is none."""
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._log.seek(0)
            reason = signal.strsignal(-status) if status < 0 else self._log.read().strip().rpartition('\n')[2]
            raise WorkerError(f'its process ended with status {status}: {reason}')
        found = json.loads(line)
        if 'failed' in found:
            raise WorkerError(found['failed'])
        return found

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # of a command that was never read
            self._process.communicate()
        self._log.close()


def main() -> None:
    """Build what the job names, then do commands until there are no more."""
    channel = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # libraries that print must not disturb the answers
    try:
        state = _State(json.loads(sys.argv[1]))
        for line in sys.stdin:
            command, arguments = json.loads(line)
            print(json.dumps(getattr(state, command)(**arguments)), file=channel, flush=True)
    except Exception as error:
        traceback.print_exc()
        print(json.dumps({'failed': f'{type(error).__name__}: {error}'.splitlines()[0]}), file=channel, flush=True)


class _State:
    """What a worker can be told."""

    check = staticmethod(gpu.check)

    def __init__(self, job: Mapping[str, Any]) -> None:
        if job['seconds'] is not None:
            signal.alarm(job['seconds'])  # ends the process
        torch.set_num_threads(job['threads'])
        torch.backends.cudnn.allow_tf32 = False  # as torch has it for matrix products
        if job['allocator'] == 'tuned':
            mmswin.tune_cpu()
        self.case = Case(**job['case'])
        self.cuda = torch.device(self.case.device).type == 'cuda'
        if job['implementation'] is not None:
            weights = torch.load(job['weights'], weights_only=True)
            self.network = build(job['implementation'], self.case, weights, job['threads'], Path(job['weights']))

    def outputs(self, path: str, **changes: Any) -> dict[str, Any]:
        """Write what has to be equal; ``changes`` are to the job's case."""
        torch.save(Repetition(self.network, self.case._replace(**changes)).outputs(), path)
        if 'size' in changes:
            torch.compiler.reset()  # the timed size must not be served by what this one compiled
        return {}

    def measure(self, repetitions: int, warm_up: int, **changes: Any) -> dict[str, Any]:
        """Seconds of each repetition, and the most memory: of the process, or on a GPU of tensors that came to others."""
        repetition = Repetition(self.network, self.case._replace(**changes))
        with contextlib.suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5')  # Linux counts the largest memory from here on
        for _ in range(warm_up):
            repetition()
        before, seconds = 0, []
        if self.cuda:
            self.network.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        for _ in range(repetitions):
            start = time.perf_counter()
            repetition()
            if self.cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
        peak = torch.cuda.max_memory_allocated() - before if self.cuda else _peak_bytes()
        return {'seconds': seconds, 'peak_bytes': peak}


def _peak_bytes() -> int | None:
    """Largest resident memory of this process; None but on Linux. (getrusage counts the parent's.)"""
    status = Path('/proc/self/status')
    found = re.search(r'VmHWM:\s+(\d+)', status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else None


if __name__ == '__main__':
    main()
