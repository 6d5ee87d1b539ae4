"""The paper's tables: what was published, what the configurations count, and how the two compare."""

import fnmatch
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import mmengine
from yaml import YAMLError

from mmswin.analysis.protocol import measure
from mmswin.engine.configure import load_config
from mmswin.errors import RunError

# Published parameters are rounded to a million; FLOPs may differ by what one counter sees and another does not.
PARAMS_TOLERANCE = 0.5
FLOPS_TOLERANCE = 0.01

ACCURACIES = {
    'box_ap': 'box AP',
    'box_ap50': 'box AP50',
    'box_ap75': 'box AP75',
    'mask_ap': 'mask AP',
    'mask_ap50': 'mask AP50',
    'mask_ap75': 'mask AP75',
    'top1': 'top-1',
    'top5': 'top-5',
    'miou': 'mIoU',
    'miou_tta': 'mIoU, scales and flip',
}


@dataclass(frozen=True)
class Row:
    """One published result.

    Attributes:
        table: Name of its table, such as ``2a``.
        method: Detector or segmentor.
        backbone: Backbone.
        config: Name of the configuration that is to reproduce it, without ``.py``; None if there is none.
        accuracy: Keys of :data:`ACCURACIES` to percentages.
        source: Where it was published.
        shape: Height and width in pixels of the image that ``flops`` are for.
        reproduced: Whether this project has trained the configuration in full and got that accuracy.
        why_none: Why there is no configuration.
        params: Parameters in millions, rounded.
        flops: Multiply-adds in 10^9, rounded.
        fps: Images per second on one V100.
        known: Reasons for a deviation of ``params`` or ``flops`` that exceeds the tolerance.
        note: Anything else.
    """

    table: str
    method: str
    backbone: str
    config: str | None
    accuracy: dict[str, float]
    source: str
    shape: tuple[int, int]
    reproduced: bool
    why_none: str | None = None
    params: float | None = None
    flops: float | None = None
    fps: float | None = None
    known: dict[str, str] = field(default_factory=dict)
    note: str | None = None

    @property
    def label(self) -> str:
        return f'{self.method}, {self.backbone}'


@dataclass(frozen=True)
class Table:
    """Rows that were published together."""

    name: str
    title: str
    source: str
    rows: tuple[Row, ...]


def load_tables(path: str | Path) -> list[Table]:
    """Read the file of tables.

    Raises:
        RunError: It cannot be read, or an entry is missing, unknown or of the wrong kind.
    """
    try:
        data = mmengine.load(path, file_format='yaml')
    except (OSError, YAMLError) as error:
        raise RunError(f'{path} cannot be read: {" ".join(str(error).split())}') from error
    if not isinstance(data, dict) or not all(isinstance(table, dict) and 'rows' in table for table in data.values()):
        raise RunError(f'{path}: expected tables by name, each with title, source, shape and rows')
    return [_table(str(name), table) for name, table in data.items()]


def _table(name: str, table: dict[str, Any]) -> Table:
    missing = {'title', 'source', 'shape'} - set(table)
    if missing:
        raise RunError(f'table {name} has no {", ".join(sorted(missing))}')
    shared = {'table': name, 'source': table['source'], 'shape': table['shape']}
    return Table(name, table['title'], table['source'], tuple(_row({**shared, **row}) for row in table['rows']))


def _row(entries: dict[str, Any]) -> Row:
    where = f'table {entries["table"]}, {entries.get("method")}, {entries.get("backbone")}'
    known = {entry.name: entry for entry in fields(Row)}
    unknown = set(entries) - set(known)
    if unknown:
        raise RunError(f'{where}: unknown {", ".join(sorted(unknown))}; known are {", ".join(known)}')
    required = {name for name, entry in known.items() if entry.default is MISSING and entry.default_factory is MISSING}
    if required - set(entries):
        raise RunError(f'{where}: {", ".join(sorted(required - set(entries)))} is missing')
    if set(entries['accuracy']) - set(ACCURACIES):
        raise RunError(f'{where}: accuracy {entries["accuracy"]} has keys other than {", ".join(ACCURACIES)}')
    if set(entries.get('known', {})) - {'params', 'flops'}:
        raise RunError(f'{where}: known explains params or flops, not {", ".join(entries["known"])}')
    if (entries['config'] is None) != ('why_none' in entries):
        raise RunError(f'{where}: give a config, or null and why_none')
    return Row(**{**entries, 'shape': tuple(entries['shape'])})


def select(tables: Iterable[Table], table: str | None = None, only: str | None = None) -> list[Row]:
    """Rows of one table and of a pattern.

    Args:
        tables: All tables.
        table: Name of a table; None for all.
        only: Part of a row's method, backbone or configuration, or a shell pattern over one; case does not matter.

    Raises:
        RunError: Nothing is left.
    """
    tables = list(tables)
    if table is not None and table not in {one.name for one in tables}:
        raise RunError(f'there is no table {table!r}; the tables are {", ".join(one.name for one in tables)}')
    rows = [row for one in tables if table in (None, one.name) for row in one.rows]
    if only is not None:
        pattern = only.lower() if any(sign in only for sign in '*?[') else f'*{only.lower()}*'
        rows = [
            row
            for row in rows
            if any(fnmatch.fnmatchcase(text.lower(), pattern) for text in (row.label, row.config or ''))
        ]
        if not rows:
            raise RunError(f'no row of the table matches {only!r}; it is looked for in method, backbone and config')
    return rows


@dataclass(frozen=True)
class Comparison:
    """A row next to what its configuration counts.

    Attributes:
        row: The row.
        params: Counted parameters in millions; None without a configuration.
        trainable: Those that are not frozen, in millions.
        flops: Counted multiply-adds in 10^9 by the authors' way of counting.
        computed: Those of matrix products that this package computes, in 10^9.
    """

    row: Row
    params: float | None = None
    trainable: float | None = None
    flops: float | None = None
    computed: float | None = None

    @property
    def params_difference(self) -> float | None:
        """Counted less published parameters, in millions."""
        return None if self.params is None or self.row.params is None else self.params - self.row.params

    @property
    def flops_difference(self) -> float | None:
        """Counted less published multiply-adds, relative to the published."""
        return None if self.flops is None or self.row.flops is None else self.flops / self.row.flops - 1

    @property
    def exceeding(self) -> set[str]:
        """Which of ``params`` and ``flops`` are off by more than the tolerance."""
        differences = {
            'params': (self.params_difference, PARAMS_TOLERANCE),
            'flops': (self.flops_difference, FLOPS_TOLERANCE),
        }
        return {name for name, (value, limit) in differences.items() if value is not None and abs(value) > limit}

    @property
    def problems(self) -> list[str]:
        """What makes the comparison fail: deviations without an explanation, and explanations without a deviation."""
        return [
            *(f'{name} is off by more than the tolerance' for name in sorted(self.exceeding - set(self.row.known))),
            *(
                f'{name} is within the tolerance, yet the table explains a deviation'
                for name in sorted(set(self.row.known) - self.exceeding)
                if self.params is not None
            ),
        ]

    @property
    def verdict(self) -> str:
        """``ok``, ``known``, ``OFF``, or why nothing is compared."""
        if self.row.config is None:
            return 'no configuration'
        if self.problems:
            return 'OFF'
        if self.exceeding:
            return 'known'
        return 'not published' if self.row.params is None else 'ok'


def compare(rows: Iterable[Row], configs: str | Path) -> list[Comparison]:
    """Count every row's configuration, each once.

    Args:
        rows: The rows.
        configs: The directory of the configurations.

    Raises:
        RunError: A configuration is missing or cannot be built.
    """

    @cache
    def counted(config: str, shape: tuple[int, int]) -> tuple[float, ...]:
        try:
            path = str(Path(configs) / f'{config}.py')
            found = measure(load_config(path, None, None, mmpretrain=False), shape)
        except RunError as error:
            raise RunError(f'{config}: {error}') from error
        return found.params / 1e6, found.trainable / 1e6, found.cost.published / 1e9, found.cost.computed / 1e9

    return [Comparison(row, *(counted(row.config, row.shape) if row.config else ())) for row in rows]
