"""Comparisons with the paper, and counts of a model, as text and as JSON."""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from mmswin.analysis.counting import MultiplyAdds
from mmswin.analysis.paper import Comparison
from mmswin.analysis.protocol import Complexity
from mmswin.analysis.scaling import Sweep


def columns(lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Align cells into columns, the first ``left`` of them to the left, the others to the right."""
    form = '  '.join(f'{{:{"<" if i < left else ">"}{max(map(len, cells))}}}' for i, cells in enumerate(zip(*lines)))
    return '\n'.join(form.format(*line).rstrip() for line in lines)


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else format(value, form)


def paper_text(comparisons: Sequence[Comparison]) -> str:
    """Published next to counted, a line for each row, then the reasons for what is off or missing."""
    lines = [('table', 'method, backbone', 'params M', 'counted', 'diff', 'FLOPs G', 'counted', 'diff %', 'verdict')]
    for one in comparisons:
        row, relative = one.row, one.flops_difference
        params = _number(row.params, 'g'), _number(one.params, '.2f'), _number(one.params_difference, '+.2f')
        flops = _number(row.flops, 'g'), _number(one.flops, '.1f'), _number(relative and 100 * relative, '+.2f')
        lines.append((row.table, row.label, *params, *flops, one.verdict))
    text = [columns(lines, left=2)]
    remarks: dict[str, dict[str, None]] = {}  # to the rows' labels, each once
    for one in comparisons:
        known = [f'{name}: {reason}' for name, reason in one.row.known.items()]
        none = [f'no configuration: {one.row.why_none}'] if one.row.why_none else []
        for remark in (*one.problems, *known, *none):
            remarks.setdefault(remark, {})[one.row.label] = None
    text += [
        textwrap.fill(f'{"; ".join(names)}: {remark}', 118, subsequent_indent='  ') for remark, names in remarks.items()
    ]
    off = [one for one in comparisons if one.problems]
    numbers = f'{sum(one.verdict == "ok" for one in comparisons)} rows agree, '
    numbers += f'{sum(one.verdict == "known" for one in comparisons)} are off for a known reason, {len(off)} are off'
    return '\n'.join([*text, numbers])


def paper_json(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """The rows with what was counted, for ``json.dump``."""
    return [
        {
            **asdict(one.row),
            'counted': {'params': one.params, 'trainable': one.trainable, 'flops': one.flops, 'computed': one.computed},
            'verdict': one.verdict,
            'problems': one.problems,
        }
        for one in comparisons
    ]


def complexity_text(found: Complexity) -> str:
    """The parts of a model, a line each, and what the columns mean."""
    unit, size = _unit(found.cost.published)
    lines = [('part', 'params M', 'trainable', f'layers {unit}', 'products', 'padding', 'elementwise', f'total {unit}')]
    for part in found.parts:
        costs = _costs(part.cost, size) if part.cost else ('-',) * 5
        lines.append((part.name, f'{part.params / 1e6:.3f}', f'{part.trainable / 1e6:.3f}', *costs))
    lines.append(('all', f'{found.params / 1e6:.3f}', f'{found.trainable / 1e6:.3f}', *_costs(found.cost, size)))
    height, width = found.shape
    return '\n'.join(
        [
            f'one image of {height} x {width} pixels; M, G: 10^6, 10^9 multiply-adds',
            columns(lines),
            'layers: convolutions and linear layers. products: of two activations (attention, dynamic convolutions).',
            'padding: projections of tokens that pad a map to whole windows, which reference implementations compute and',
            "mmswin does not. elementwise: biases, norms, rectifiers, poolings, as the authors' counter has them.",
            *['-: runs in training alone, or is not in published figures (masks of CondInst).']
            * any(part.cost is None for part in found.parts),
            f"By the authors' way of counting {_short(found.cost.published)}; "
            f'in matrix products as computed here {_short(found.cost.computed)}.',
        ]
    )


def _costs(cost: MultiplyAdds, size: float) -> tuple[str, ...]:
    values = (cost.layers, cost.products, cost.padding, cost.elementwise, cost.published)
    return tuple(f'{value / size:.2f}' for value in values)


def _unit(value: float) -> tuple[str, float]:
    return ('G', 1e9) if value >= 1e9 else ('M', 1e6)


def _short(value: float) -> str:
    unit, size = _unit(value)
    return f'{value / size:.1f} {unit}'


def sweep_text(found: Sweep, shape: tuple[int, int]) -> str:
    """Both kinds of attention at every size, how they grow, and what they would cost at ``shape`` (pixels)."""
    kinds = {'windows': 'in windows', 'global': 'over the whole map'}
    lines = [
        ('pixels', *(f'{name} M' for name in kinds.values()), *(f'{kind} ms' for kind in kinds if found.seconds[kind]))
    ]
    columns_of = [(found.counted[kind], 1e-6) for kind in kinds] + [(s, 1e3) for s in found.seconds.values() if s]
    for i, tokens in enumerate(found.tokens):
        values = (f'{unit * column[i]:.1f}' for column, unit in columns_of)
        lines.append((str(tokens * found.patch[0] * found.patch[1]), *values))
    lines.append(('grow as pixels^', *(f'{found.exponent(column):.2f}' for column, _ in columns_of)))
    height, width = (-(-side // patch) for side, patch in zip(shape, found.patch))
    costs = ', '.join(f'{name} {_short(found.formula(kind, height * width))}' for kind, name in kinds.items())
    return (
        f'{columns(lines, left=0)}\n(M, G: 10^6, 10^9 multiply-adds; exponents fitted to the larger half of the sizes)\n'
        f'at {shape[0]} x {shape[1]} pixels, by equations 2 and 1: {costs}'
    )
