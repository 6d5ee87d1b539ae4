"""Cost against the size of the image, as pictures: of attention, and of a whole backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmswin.analysis.growth import Growth
from mmswin.analysis.scaling import Sweep

_COLOURS = {'inference': 'C0', 'training': 'C3'}
_LOOK = {'windows': ('C0', 'o', 'in windows'), 'global': ('C3', 's', 'over the whole map')}


def draw_sweep(sweep: Sweep, shape: tuple[int, int], path: str | Path) -> None:
    """Draw multiply-adds and time of both kinds of attention over the pixels of the image, both axes logarithmic.

    Args:
        sweep: What was counted and measured.
        shape: Height and width of an image, in pixels, to mark.
        path: Where the picture goes.
    """
    figure = Figure(figsize=(11, 4.8), layout='constrained')
    counted, timed = figure.subplots(1, 2, sharex=True)
    marked = shape[0] * shape[1]
    pixels = np.array([sweep.pixels(tokens) for tokens in sweep.tokens])
    span = np.geomspace(pixels[0], max(marked, pixels[-1]), 100)
    tokens = span / sweep.pixels(1)
    for kind, (colour, marker, label) in _LOOK.items():
        equation = 1 if kind == 'global' else 2
        law = [sweep.formula(kind, n) / 1e9 for n in tokens]
        counted.plot(span, law, colour, label=f'{label}: equation {equation}')
        counted.plot(pixels, np.array(sweep.counted[kind]) / 1e9, colour + marker, label=f'{label}: counted')
        seconds = np.array(sweep.seconds[kind])
        power = sweep.exponent(seconds)
        timed.plot(pixels[: len(seconds)], 1000 * seconds, colour + marker + '-', label=f'{label}: measured')
        beyond = np.array([pixels[len(seconds) - 1], span[-1]])
        timed.plot(
            beyond,
            1000 * seconds[-1] * (beyond / beyond[0]) ** power,
            colour + '--',
            label=f'{label}: as pixels$^{{{power:.2f}}}$',
        )
    _finish(counted, 'multiply-adds of the attention layer', '10$^9$ multiply-adds', marked, shape)
    _finish(timed, 'time of a forward pass', 'milliseconds', marked, shape)
    window = ' x '.join(map(str, sweep.window))
    figure.suptitle(
        f'Attention of width {sweep.dim}, windows of {window} tokens, patches of '
        f'{" x ".join(map(str, sweep.patch))} pixels'
    )
    figure.savefig(path, dpi=110)


def _finish(axes: Axes, title: str, unit: str, marked: int, shape: tuple[int, int]) -> None:
    axes.axvline(marked, color='0.6', linestyle=':', label=f'image of {shape[0]} x {shape[1]}')
    axes.set(xscale='log', yscale='log', title=title, xlabel='pixels of the image', ylabel=unit)
    axes.title.set_fontsize(10)
    axes.grid(alpha=0.3, which='both')
    axes.legend(fontsize=8)


def draw_growth(growth: Growth, title: str, path: str | Path) -> None:
    """Draw time and memory over pixels, both axes logarithmic, with the fitted powers.

    Args:
        growth: What was measured.
        title: What the picture is of.
        path: Where it goes.
    """
    figure = Figure(figsize=(11, 4.8), layout='constrained')
    timed, kept = figure.subplots(1, 2, sharex=True)
    exponents = growth.exponents()
    for (mode, quantity), (pixels, values) in growth.curves().items():
        axes, unit = (timed, 1e-3) if quantity == 'seconds' else (kept, 2**30)
        what = {'seconds': mode, 'memory': f'{mode}: peak', 'saved': f'{mode}: kept for backward'}[quantity]
        power = exponents.get((mode, quantity))
        label = what if power is None else f'{what}, pixels$^{{{power:.3f}}}$'
        colour, marker = _COLOURS[mode], '^' if quantity == 'saved' else 'o'
        axes.plot(np.array(pixels) / 1e6, np.array(values) / unit, colour + marker, label=label)
        if power is not None:
            fit = np.polyfit(np.log(pixels), np.log(values), 1)
            axes.plot(np.array(pixels) / 1e6, np.exp(np.polyval(fit, np.log(pixels))) / unit, colour + '-', alpha=0.5)
    for axes, name, unit in ((timed, 'time of a pass', 'milliseconds'), (kept, 'memory of a pass', 'GiB')):
        axes.set(xscale='log', yscale='log', title=name, xlabel='megapixels of the image', ylabel=unit)
        axes.xaxis.set_major_formatter('{x:g}')
        axes.grid(alpha=0.3, which='both')
        axes.legend(fontsize=8)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
