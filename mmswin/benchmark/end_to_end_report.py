"""End-to-end benchmarks as tables and a plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from mmswin.benchmark.end_to_end import RunResult, Turn
from mmswin.benchmark.report import where
from mmswin.benchmark.timing import Summary

# Parts of an image's time, in the order of the plot.
PARTS = ('backbone forward', 'backbone backward', 'the rest of the network', 'waiting for data')
_COLOURS = ('tab:blue', 'tab:cyan', 'tab:gray', 'tab:orange')


def parts(turn: Turn) -> dict[str, float]:
    """Seconds an image of each of :data:`PARTS`."""
    rest = turn.seconds - turn.forward - turn.backward - turn.waiting
    return {
        name: seconds / turn.images for name, seconds in zip(PARTS, (turn.forward, turn.backward, rest, turn.waiting))
    }


def table(result: RunResult) -> str:
    """One recipe and mode as a Markdown table, the fastest side first, and what the backbone's share means."""
    sides = sorted(result.sides, key=lambda side: -result.rate(side).median)
    heads = ['backbone', 'images a second', f"times faster than {result.library}'s", 'its share of the time',
             'forward', 'backward', 'rest', 'waiting for data', 'peak memory']  # fmt: skip
    lines = [f'### {result.recipe}, {result.mode}, allocator {result.allocator}', '',
             '| ' + ' | '.join(heads) + ' |', '|---' * len(heads) + '|']  # fmt: skip
    for side in sides:
        turns = result.sides[side]
        faster = '1' if side == result.library else _spread(result.ratio(side), '.2f')
        share = result.share(side, 'backbone').median
        seconds = [median(parts(turn)[name] for turn in turns) for name in PARTS]
        peak = turns[-1].peak_bytes
        cells = [side, _spread(result.rate(side), '.3g'), faster, f'{share:.0%}', *map(_seconds, seconds),
                 '-' if peak is None else f'{peak / 1e9:.2f} GB']  # fmt: skip
        lines.append('| ' + ' | '.join(cells) + ' |')
    turns = result.sides[result.library]
    share = result.share(result.library, 'backbone').median
    shapes = ', '.join(dict.fromkeys(turns[0].shapes))
    lines += ['', f'forward to waiting: seconds an image. The backbone was given {shapes}. With {result.library}\'s '
              f'backbone it takes {share:.0%} of the time, so no backbone can make this run more than '
              f'{1 / (1 - share):.2f} times faster. Loading and transforming an image takes one process '
              f'{median(turn.loading for turn in turns):.3g} s.']  # fmt: skip
    return '\n'.join(lines) + '\n'


def _seconds(value: float) -> str:
    return f'{value:.3g} s'


def _spread(found: Summary, figures: str) -> str:
    return f'{found.median:{figures}} ({found.quartiles[0]:{figures}} to {found.quartiles[1]:{figures}})'


def document(values: Mapping[str, Any]) -> str:
    """A whole benchmark file in Markdown: what it ran on, then the tables."""
    settings = values['settings']
    options = settings['options']
    data = values['data'] if values['data'] != 'generated' else 'generated images of the usual size'
    head = (
        f'{where(values)} {settings["rounds"]} rounds of {options["iterations"]} iterations after '
        f'{options["warm_up"]}; medians, with the middle half of the rounds in parentheses; ratios are taken round by '
        f'round. Data: {data}, image sizes times {options["image_scale"]:g}. Random weights, the same on all sides; '
        'losses or predictions of the first iterations agree.'
    )
    return '\n'.join([head, '', *(table(RunResult.from_dict(result)) for result in values['results'])])


def plot(values: Mapping[str, Any], path: Path) -> None:
    """Bars of an image's seconds in their parts, a panel for each recipe and mode."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    results = [RunResult.from_dict(result) for result in values['results']]
    figure, axes = pyplot.subplots(
        len(results), 1, figsize=(9, 1.2 + 2 * len(results)), squeeze=False, layout='constrained'
    )
    for axis, result in zip(axes[:, 0], results):
        sides = sorted(result.sides, key=lambda side: result.rate(side).median)
        ends = [0.0] * len(sides)
        for name, colour in zip(PARTS, _COLOURS):
            widths = [median(parts(turn)[name] for turn in result.sides[side]) for side in sides]
            axis.barh(sides, widths, left=ends, color=colour, label=name)
            ends = [end + width for end, width in zip(ends, widths)]
        for place, side in enumerate(sides):
            axis.text(ends[place], place, f'  {result.rate(side).median:.3g} images/s', va='center')
        axis.set_xlim(0, 1.25 * max(ends))
        axis.set_title(f'{result.recipe}, {result.mode}, allocator {result.allocator}', fontsize=10, loc='left')
    axes[-1, 0].set_xlabel('seconds an image, medians of the rounds')
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc='outside upper center', ncols=4, fontsize=9)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
