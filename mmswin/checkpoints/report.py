"""The report of a load of weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmswin.errors import CheckpointError, printable

# Of the backbone's tensors, and of the file's, this part must match; the rest may be new or left over.
MIN_MATCH = 0.9
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


def check_match(
    report: LoadReport, fitted: Mapping[str, Tensor], misfits: list[str], cause: Callable[[], str], other: bool = False
) -> None:
    """Refuse weights of another network; note those that are not finite.

    Args:
        report: What the load would do.
        fitted: The tensors that it would load.
        misfits: Tensors of another shape, with the two shapes.
        cause: Gives the likeliest reason why they do not fit.
        other: Whether they are another network's although they fit.

    Raises:
        CheckpointError: They are.
    """
    matched = report.loaded / max(report.total, report.loaded + len(report.unexpected) + len(misfits))
    if matched < MIN_MATCH or misfits or other:
        text = f'{report.source} does not fit: it fills {report.loaded} of the {report.total} backbone tensors'
        text += f'; {len(report.unexpected)} of the file find no place' if report.unexpected else ''
        text += f'; {len(misfits)} of other shape, the first is {misfits[0]}' if misfits else ''
        raise CheckpointError(f'{text}. {cause()}')
    report.not_finite = not_finite(fitted)


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
        rows = [
            (self.not_finite, 'HOLD NAN OR INFINITY', f' ({_some(self.not_finite)})'),
            (self.resized, 'resized', f' ({", ".join(self.changes)})'),
            (self.new_blocks, 'blocks are new and random', f' ({_some(self.new_blocks)})'),
            (self.missing, 'left as initialised', f' ({_some(self.missing)})'),
            (self.unexpected, 'of the file found no place', f' ({_some(self.unexpected)})'),
            (self.unused, 'entries of the file not used', ''),
        ]
        return '; '.join([self._headline(), *(f'{len(names)} {what}{which}' for names, what, which in rows if names)])

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


def replace_part(
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    fit: Callable[[nn.Module, dict[str, Any], LoadReport], dict[str, Tensor]],
) -> LoadReport | None:
    """Replace a backbone's part of a state dict by what it can load; called by its load hook.

    Args:
        module: The backbone.
        state_dict: Where the backbone's part lies under ``prefix``; changed.
        prefix: The module's name with a dot, or ''.
        fit: Gives what to load of the part, its names without the prefix, and fills the report.

    Returns:
        What the load will do; None if the state dict holds nothing under the prefix.

    Raises:
        CheckpointError: The part is for another network.
    """
    own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    if not own:
        return None
    report = LoadReport('', getattr(module, 'load_source', None) or 'a state dict')
    loaded = fit(module, own, report)
    for name in own:
        del state_dict[prefix + name]
    state_dict.update({prefix + name: tensor for name, tensor in loaded.items()})
    return report
