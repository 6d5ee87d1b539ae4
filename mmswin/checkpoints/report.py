"""The report of a load of weights."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from mmswin.errors import printable

_SHOWN = 3


def log(text: str, level: int = logging.INFO) -> None:
    """Say something in the log of the run, if there is one, else on the terminal; escaped."""
    from mmengine.logging import print_log

    print_log('\n'.join(printable(line, 4000) for line in text.split('\n')), logger='current', level=level)


def _some(names: list[str]) -> str:
    return ', '.join(printable(name, 100) for name in names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    spoilt = []
    for name, tensor in tensors.items():
        if not tensor.is_meta and (tensor.is_floating_point() or tensor.is_complex()):
            # Numbers of eight bits are not asked for it.
            wide = tensor.float() if tensor.dtype.itemsize == 1 else tensor
            if not bool(wide.isfinite().all()):
                spoilt.append(name)
    return spoilt


def misfit(report: LoadReport, detail: str, cause: str) -> str:
    """The message for weights of another network."""
    left = f'; {len(report.unexpected)} of the file find no place' if report.unexpected else ''
    filled = f'it fills {report.loaded} of the {report.total} backbone tensors'
    return f'{report.source} does not fit: {filled}{left}{detail}. {cause}'


@dataclass
class LoadReport:
    """What a load of weights did to a backbone.

    ``total`` counts the backbone's tensors without its output norms, which classifiers lack; ``loaded`` those of them
    that the file filled. ``missing`` names tensors that kept their values, output norms included, ``unexpected`` those
    of the file's backbone that found no place, ``resized`` those adapted to another window, image size or number of
    channels (``changes`` says so in words), ``unused`` what else the file held (heads and necks, stages that are not
    built). ``new_blocks`` are blocks that the file does not have, ``not_finite`` tensors that were loaded with NaN or
    infinity in them. ``prefix`` stood before the backbone's names.
    """

    format: str
    source: str = 'a state dict'
    prefix: str = ''
    loaded: int = 0
    total: int = 0
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    new_blocks: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)

    def _headline(self) -> str:
        below = f', below {self.prefix!r}' if self.prefix else ''
        return f'loaded {self.loaded} of {self.total} backbone tensors from {self.source} ({self.format} format{below})'

    def summary(self) -> str:
        """One line for a log."""
        notes = [f'{len(self.not_finite)} HOLD NAN OR INFINITY ({_some(self.not_finite)})'] if self.not_finite else []
        if self.resized:
            notes.append(f'{len(self.resized)} resized ({", ".join(self.changes)})')
        if self.new_blocks:
            notes.append(f'{len(self.new_blocks)} blocks are new and random ({_some(self.new_blocks)})')
        if self.missing:
            notes.append(f'{len(self.missing)} left as initialised ({_some(self.missing)})')
        if self.unexpected:
            notes.append(f'{len(self.unexpected)} of the file found no place ({_some(self.unexpected)})')
        if self.unused:
            notes.append(f'{len(self.unused)} entries of the file not used')
        return '; '.join([self._headline(), *notes])

    def table(self) -> str:
        """Several lines for a log: the counts, and the first names of each."""
        rows = [
            ('NAN OR INFINITY', self.not_finite, ''),
            ('resized', self.resized, f'{", ".join(self.changes)}: ' if self.changes else ''),
            ('left as initialised', self.missing, ''),
            ('blocks that are new', self.new_blocks, ''),
            ('found no place', self.unexpected, ''),
            ('not used', self.unused, ''),
        ]
        lines = [f'  {what:<20}{len(names):>4}   {note}{_some(names)}' for what, names, note in rows if names]
        return '\n'.join([self._headline(), *lines])
