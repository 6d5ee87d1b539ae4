"""A preset's benchmark: its pieces within a budget, and a JSON file that is whole after every piece."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import mmswin
from mmswin.benchmark import budget
from mmswin.benchmark.budget import DONE, Outcome, Piece
from mmswin.benchmark.floor import least_bytes
from mmswin.benchmark.machine import check_device
from mmswin.benchmark.pieces import do
from mmswin.benchmark.presets import PRESETS
from mmswin.benchmark.report import document
from mmswin.benchmark.results import WorkResult, write
from mmswin.benchmark.work import Work
from mmswin.errors import RunError

CEILINGS = 'ceilings of the device'


def run(
    preset: str,
    pieces: Sequence[Piece],
    device: str,
    seconds: float | None,
    out: Path,
    progress: Callable[[str], None],
    earlier: Mapping[str, Any] | None = None,
    do: Callable[[str, dict[str, Any]], dict[str, Any]] = do,
) -> dict[str, Any]:
    """Do a preset's pieces and write what is known after each of them.

    Args:
        preset: Its name.
        pieces: Of :mod:`mmswin.benchmark.presets`.
        device: Where.
        seconds: Budget; None for no end.
        out: JSON file.
        progress: Told what goes on.
        earlier: Values of a file to go on with: what it has is not done again.
        do: Does a piece.

    Returns:
        Plain values, as they are in the file.

    Raises:
        RunError: The device is not there, or ``earlier`` is of another preset or machine.
    """
    first = Piece('machine', 'machine', {'device': device}, 0)
    values: dict[str, Any] = {
        'mmswin': mmswin.__version__,
        'preset': preset,
        'date': datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        'budget': seconds,
    }
    check_device(device, 'the preset cpu is for machines without one')
    known = [Outcome(**outcome) for outcome in earlier['pieces']] if earlier else []
    if earlier and earlier.get('preset') != preset:
        raise RunError(f'{out} is of the preset {earlier.get("preset")!r} and not {preset!r}: name another with --out')

    def finished(outcomes: list[Outcome]) -> None:
        head = outcomes[0]
        if head.status != DONE:
            raise RunError(f'{device!r} cannot be used: {head.reason}')
        _keep(values, outcomes, pieces)
        write(values, out)
        out.with_suffix('.md').write_text(markdown(values))

    out.parent.mkdir(parents=True, exist_ok=True)
    known = [outcome for outcome in known if outcome.name != first.name]
    budget.run([first, *pieces], do, seconds, finished, progress, known)
    return values


def _keep(values: dict[str, Any], outcomes: Sequence[Outcome], pieces: Sequence[Piece]) -> None:
    """Put all that is known into the values, which then have the form that reports read."""
    works = [outcome for outcome in outcomes if 'results' in outcome.result]
    values['machine'] = outcomes[0].result
    # The same for all works of a preset.
    values['settings'] = next(piece.arguments['settings'] for piece in pieces if piece.kind == 'work')
    values['results'] = [result for outcome in works for result in outcome.result['results']]
    ceilings = next((outcome.result for outcome in outcomes if outcome.name == CEILINGS), {})
    values['shares_of_floor'] = shares_of_floor(values['results'], ceilings.get('copy'))
    values['pieces'] = [outcome.as_dict() for outcome in outcomes]


def shares_of_floor(results: Sequence[Mapping[str, Any]], copy: float | None) -> list[dict[str, Any]]:
    """How much of a side's kernel time the least traffic would take at the measured rate of a copy.

    Args:
        results: Of :meth:`WorkResult.as_dict`.
        copy: Bytes a second; None where it is unknown.
    """
    found = []
    for result in map(WorkResult.from_dict, results):
        for name, side in result.sides.items():
            if copy and side.gpu_seconds and result.work.precision == 'bfloat16':
                least = least_bytes(result.work) / copy
                found.append({'work': result.work.label, 'side': name, 'share': least / side.gpu_seconds})
    return found


def markdown(values: Mapping[str, Any]) -> str:
    """The file's content as tables: what was done and what was not, kernels, correctness, then every work."""
    lines = [document(values), '## Pieces', '', '| piece | became | seconds | why |', '|---|---|---|---|']
    lines += [f'| {one["name"]} | {one["status"]} | {one["seconds"]:g} | {one["reason"] or ""} |'
              for one in values['pieces']]  # fmt: skip
    done = {one['name']: one['result'] for one in values['pieces'] if one['status'] == DONE}
    if CEILINGS in done:
        rates = done[CEILINGS]
        lines += ['', f'A copy moves {rates["copy"] / 1e9:.0f} GB/s, read and written bytes counted; a product in '
                  f'bfloat16 runs at {rates["product"] / 1e12:.0f} TFLOP/s.']  # fmt: skip
    for name, result in done.items():
        if 'agrees' in result:
            wrong = [row for row in result.get('cases', [result]) if not row['agrees']]
            what = 'agrees with the reference' if result['agrees'] else 'DOES NOT AGREE WITH THE REFERENCE'
            lines += ['', f'{name}: {what}.', *(f'- {row["case"]}, {row["dtype"]}: {row["errors"]}' for row in wrong)]
    kernels = [row for result in done.values() for row in result.get('kernels', [])]
    if kernels:
        lines += ['', '| kernel | direction | GB/s | share of a copy |', '|---|---|---|---|']
        lines += [f'| {row["case"]} | {row["direction"]} | {row["rate"] / 1e9:.0f} | {row["share_of_copy"]:.0%} |'
                  for row in kernels]  # fmt: skip
        lines += ['', 'The same forward by other means, and how many times faster the kernel is:', '']
        lines += [f'- {row["case"]}: {_beside(row)}' for row in kernels if 'others' in row]
    if values['shares_of_floor']:
        lines += ['', 'Least traffic at the rate of a copy, as a share of the time in kernels:', '',
                  '| work | side | share |', '|---|---|---|']  # fmt: skip
        lines += [f'| {row["work"]} | {row["side"]} | {row["share"]:.0%} |' for row in values['shares_of_floor']]
    return '\n'.join(lines) + '\n'


def _beside(row: Mapping[str, Any]) -> str:
    mine = median(row['seconds']['kernel'])
    return '; '.join(f'{name}: {time}' if isinstance(time, str) else f'{name} {time * 1e3:.3g} ms ({time / mine:.2f})'
                     for name, time in row['others'].items())  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    """An earlier run's file.

    Raises:
        RunError: It is none.
    """
    try:
        values = json.loads(path.read_text())
        for outcome in values['pieces']:
            Outcome(**outcome)
        for result in values['results']:
            Work.from_dict(result['work'])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f'--resume: {path} is no file of a preset ({type(error).__name__}: {error})') from error
    return values


def unfinished(path: Path) -> str | None:
    """The preset whose unfinished work a file holds; None for any other file."""
    try:
        values = read(path)
    except RunError:
        return None
    preset = values.get('preset')
    if preset not in PRESETS:
        return None
    done = sum(outcome['status'] == DONE for outcome in values['pieces'])
    return preset if done < 1 + len(PRESETS[preset]()) else None  # the machine's description is one more
