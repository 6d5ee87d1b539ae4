"""Benchmarks as tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmswin.benchmark.equality import REFERENCE
from mmswin.benchmark.floor import least_bytes
from mmswin.benchmark.results import SideResult, WorkResult
from mmswin.benchmark.timing import Summary

BASELINES = ('mmdet', REFERENCE)


def table(result: WorkResult) -> str:
    """One piece of work as a Markdown table, the fastest side first."""
    ran = sorted((side for side in result.sides.values() if side.seconds), key=lambda side: side.summary.median)
    lines = [f'### {result.work.label}, allocator {result.allocator}', '']
    if ran:
        baselines = [name for name in BASELINES if name in result.sides and result.sides[name].seconds]
        heads = ['side', 'median', 'middle half', *(f'times faster than {name}' for name in baselines)]
        extra = [column for column in _EXTRA if any(column[1](result, side) is not None for side in ran)]
        heads += [name for name, _, _ in extra]
        lines += ['| ' + ' | '.join(heads) + ' |', '|---' * len(heads) + '|']
        for side in ran:
            half = ' to '.join(map(milliseconds, side.summary.quartiles))
            cells = [side.side, milliseconds(side.summary.median), half]
            cells += [_ratio(result.ratio(name, side.side)) if name != side.side else '1' for name in baselines]
            figures = [(get(result, side), show) for _, get, show in extra]
            cells += ['-' if figure is None else show(figure) for figure, show in figures]
            lines.append('| ' + ' | '.join(cells) + ' |')
    for side in result.sides.values():
        if side.verdict.reason:
            lines += ['', f'{side.side} took no part: {side.verdict.reason}.']
    return '\n'.join(lines) + '\n'


def milliseconds(seconds: float) -> str:
    """Three figures and the unit."""
    value = seconds * 1e3
    return f'{value:.0f} ms' if value >= 100 else f'{value:.3g} ms'


def _ratio(found: Summary | None) -> str:
    return '-' if found is None else f'{found.median:.2f} ({found.quartiles[0]:.2f} to {found.quartiles[1]:.2f})'


def _megabytes(value: float) -> str:
    return f'{value / 1e6:.0f} MB'


def _error(result: WorkResult, side: SideResult) -> float | None:
    return None if not side.verdict.reference else side.verdict.error / side.verdict.reference


def _useful_rate(result: WorkResult, side: SideResult) -> float | None:
    """Bytes a second, of those that have to be moved (see :mod:`mmswin.benchmark.floor`)."""
    if not side.gpu_seconds or result.work.precision != 'bfloat16':
        return None
    return least_bytes(result.work) / side.gpu_seconds


# Heading, figure of a side in a result or None, and how to write it.
_EXTRA = (
    ("error over the reference's", _error, '{:.2f}'.format),
    ('first', lambda result, side: side.first, milliseconds),
    ('graphs', lambda result, side: side.compilations or None, str),
    ('kernels', lambda result, side: side.gpu_seconds, milliseconds),
    ('least traffic over kernel time', _useful_rate, lambda rate: f'{rate / 1e9:.0f} GB/s'),
    ('launches', lambda result, side: side.launches, str),
    ('page faults', lambda result, side: side.faults, '{:.0f}'.format),
    ('saved for backward', lambda result, side: side.saved_bytes, _megabytes),
    ('peak memory', lambda result, side: side.peak_bytes, _megabytes),
)


def where(values: Mapping[str, Any]) -> str:
    """Date, machine and versions of a benchmark file, as a sentence."""
    machine = values['machine']
    processor = f'{machine["processor"]} ({machine["vector_instructions"]}), {machine["cores"]} cores'
    place = machine.get('gpu') or processor
    versions = ', '.join(f'{name} {version}' for name, version in machine['versions'].items())
    threads = values['settings']['threads']
    return f'{values["date"]}, {place}, {threads} threads, Python {machine["python"]}, {versions}.'


def document(values: Mapping[str, Any]) -> str:
    """A whole benchmark file in Markdown: what it ran on, then the tables."""
    settings = values['settings']
    head = (
        f'{where(values)} {settings["rounds"]} rounds of {settings["repetitions"]} repetitions; ratios are medians '
        'over rounds, with the middle half of them in parentheses.'
    )
    return '\n'.join([head, '', *(table(WorkResult.from_dict(result)) for result in values['results'])])


def plot(values: Mapping[str, Any], path: Path) -> None:
    """Bars of median seconds, a panel for each piece of work."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    results = [WorkResult.from_dict(result) for result in values['results']]
    results = [result for result in results if any(side.seconds for side in result.sides.values())]
    figure, axes = pyplot.subplots(len(results), 1, figsize=(9, 1.2 + 2.4 * len(results)), squeeze=False)
    for axis, result in zip(axes[:, 0], results):
        ran = sorted((s for s in result.sides.values() if s.seconds), key=lambda s: s.summary.median, reverse=True)
        medians = [1e3 * side.summary.median for side in ran]
        spread = [
            [1e3 * (s.summary.median - s.summary.quartiles[0]) for s in ran],
            [1e3 * (s.summary.quartiles[1] - s.summary.median) for s in ran],
        ]
        colours = ['tab:blue' if side.side.startswith('mmswin') else 'tab:gray' for side in ran]
        axis.barh([side.side for side in ran], medians, xerr=spread, color=colours, capsize=3)
        ends = [1e3 * side.summary.quartiles[1] for side in ran]
        for place, (median, end) in enumerate(zip(medians, ends)):
            axis.text(end, place, f'  {median:.4g} ms', va='center')
        axis.set_xlim(0, 1.2 * max(ends))
        axis.set_title(f'{result.work.label}, allocator {result.allocator}', fontsize=10, loc='left')
        axis.set_xlabel('milliseconds, median and middle half of the rounds')
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
