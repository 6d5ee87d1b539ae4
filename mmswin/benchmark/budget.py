"""Pieces of a benchmark, done in order of importance within a budget of seconds; nothing that is done gets lost.

Pieces are done by a process of their own, which is replaced when a piece fails or takes too long: after an error on a
GPU a process can no longer use it.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

# A piece may take so many times what it is expected to take, and at least so many seconds.
PATIENCE = 3.0
LEAST_LIMIT = 60.0
# Seconds that a process may take to import what it needs; they count to the budget and not to a piece's limit.
START_LIMIT = 300.0

DONE, LEFT_OUT, FAILED = 'done', 'left out', 'failed'


class LeftOut(Exception):
    """Raised by a piece that cannot be done here; the message says why."""


@dataclass(frozen=True)
class Piece:
    """Something to do.

    Args:
        name: What reports call it.
        kind: Which function does it.
        arguments: Plain values for that function.
        seconds: How long it is expected to take.
    """

    name: str
    kind: str
    arguments: dict[str, Any]
    seconds: float


@dataclass
class Outcome:
    """What became of a piece.

    Args:
        name: The piece's.
        status: ``'done'``, ``'left out'`` or ``'failed'``.
        seconds: How long it took.
        reason: Why it is not done.
        result: What it gave.
    """

    name: str
    status: str
    seconds: float = 0.0
    reason: str | None = None
    result: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run(
    pieces: Sequence[Piece],
    do: Callable[[str, dict[str, Any]], dict[str, Any]],
    budget: float | None,
    finished: Callable[[list[Outcome]], None],
    progress: Callable[[str], None] = lambda line: None,
    earlier: Sequence[Outcome] = (),
    least_limit: float = LEAST_LIMIT,
) -> list[Outcome]:
    """Do pieces, the first ones first.

    A piece that is expected to take longer than what is left of the budget is left out, and a later, shorter one may
    still be done. One that takes much longer than expected, or reaches the end of the budget, is stopped.

    Args:
        pieces: What to do, most important first.
        do: Given a piece's kind and arguments, in another process; a function of a module.
        budget: Seconds for all; None for no end.
        finished: Given all outcomes so far after every piece.
        progress: Told what goes on.
        earlier: Outcomes of an earlier run; the pieces that it has done are not done again.
        least_limit: Seconds that a piece may take however short it is expected to be.
    """
    kept = {outcome.name: outcome for outcome in earlier if outcome.status == DONE}
    end = None if budget is None else time.monotonic() + budget
    outcomes: list[Outcome] = []
    worker = _Worker(do)
    try:
        for number, piece in enumerate(pieces, 1):
            left = None if end is None else end - time.monotonic()
            if piece.name in kept:
                outcomes.append(kept[piece.name])
            elif left is not None and piece.seconds > left:
                reason = f'it takes about {piece.seconds:.0f} s, and {max(left, 0):.0f} s of the budget were left'
                outcomes.append(Outcome(piece.name, LEFT_OUT, reason=reason))
            else:
                progress(f'part {number} of {len(pieces)}: {piece.name} (about {piece.seconds:.0f} s)')
                limit = max(least_limit, PATIENCE * piece.seconds)
                outcomes.append(worker.do(piece, limit if left is None else min(limit, left)))
            outcome = outcomes[-1]
            if outcome.reason:
                progress(f'{piece.name}: {outcome.status}: {outcome.reason}')
            finished(outcomes)
    finally:
        worker.end()
    return outcomes


class _Worker:
    """A process that does pieces, started when one is needed."""

    def __init__(self, do: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
        self._do = do
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._ready = False

    def do(self, piece: Piece, limit: float) -> Outcome:
        start = time.monotonic()
        status, said = self._ask(piece, limit)
        seconds = round(time.monotonic() - start, 1)
        if status == DONE:
            return Outcome(piece.name, DONE, seconds, result=said)
        self.end()
        return Outcome(piece.name, status, seconds, reason=said)

    def _ask(self, piece: Piece, limit: float) -> tuple[str, Any]:
        if self._process is None:
            context = multiprocessing.get_context('spawn')
            self._line, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, self._do))
            self._process.start()
            theirs.close()
        try:
            if not self._ready and not self._line.poll(START_LIMIT):
                return FAILED, f'its process did not start within {START_LIMIT:.0f} s'
            self._ready = self._ready or self._line.recv()
            self._line.send((piece.kind, piece.arguments))
            if not self._line.poll(limit):
                return FAILED, f'stopped after {limit:.0f} s; it was to take about {piece.seconds:.0f} s'
            return self._line.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self._process.join()
            return FAILED, f'its process died with exit status {self._process.exitcode}'

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._line.close()
        self._process, self._line, self._ready = None, None, False


def _serve(line: Connection, do: Callable[[str, dict[str, Any]], dict[str, Any]]) -> None:
    """Do what comes down the line until it is cut."""
    line.send(True)
    while True:
        try:
            kind, arguments = line.recv()
        except EOFError:
            return
        try:
            line.send((DONE, do(kind, arguments)))
        except LeftOut as reason:
            line.send((LEFT_OUT, str(reason)))
        except Exception as error:  # whatever a compiler or a driver comes up with must not stop the rest
            traceback.print_exc()
            words = str(error).strip().splitlines() or ['no message']
            line.send((FAILED, f'{type(error).__name__}: {words[0]}'))
