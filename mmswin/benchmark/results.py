"""What was measured, as plain values that are written as JSON and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmswin.benchmark.equality import Verdict
from mmswin.benchmark.timing import Summary, ratio
from mmswin.benchmark.work import Work


def write(values: Mapping[str, Any], path: Path) -> None:
    """Write a benchmark's JSON file, whole or not at all."""
    part = path.with_suffix('.part')
    part.write_text(json.dumps(values, indent=1) + '\n')
    part.replace(path)


@dataclass
class SideResult:
    """One side's figures on one piece of work; None where a figure does not apply.

    Args:
        side: Its name.
        verdict: What the comparison with float64 said.
        seconds: Wall time of the work, a figure for each round.
        first: Seconds of the first repetition, with compilation where there is any.
        compilations: Graphs that torch.compile made.
        faults: Minor page faults of a repetition (CPU).
        peak_bytes: Largest memory: of the process (CPU), or that tensors took besides the weights (GPU).
        saved_bytes: What autograd keeps for backward.
        gpu_seconds: Sum of the kernels' times in a repetition (GPU).
        launches: Kernels of a repetition (GPU).
    """

    side: str
    verdict: Verdict
    seconds: list[float] = field(default_factory=list)
    first: float | None = None
    compilations: int | None = None
    faults: float | None = None
    peak_bytes: int | None = None
    saved_bytes: int | None = None
    gpu_seconds: float | None = None
    launches: int | None = None

    @property
    def summary(self) -> Summary | None:
        """Of the wall times; None for a side that took no part."""
        return Summary.of(self.seconds) if self.seconds else None


@dataclass
class WorkResult:
    """All sides' figures on one piece of work."""

    work: Work
    allocator: str
    sides: dict[str, SideResult]

    def ratio(self, baseline: str, side: str) -> Summary | None:
        """How many times faster ``side`` is than ``baseline``, by rounds; None if one of them took no part."""
        pair = [self.sides[name].seconds if name in self.sides else [] for name in (baseline, side)]
        return ratio(*pair) if all(pair) else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the summaries and ratios that follow from them."""
        sides = {}
        for name, result in self.sides.items():
            sides[name] = asdict(result) | {
                'verdict': result.verdict._asdict(),
                'summary': asdict(result.summary) if result.summary else None,
            }
        ratios = {
            f'{baseline} / {side}': asdict(found)
            for baseline in self.sides
            for side in self.sides
            if baseline != side and (found := self.ratio(baseline, side))
        }
        return {'work': self.work.as_dict(), 'allocator': self.allocator, 'sides': sides, 'ratios': ratios}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> WorkResult:
        """The inverse of :meth:`as_dict`."""
        sides = {}
        for name, fields in values['sides'].items():
            fields = {key: value for key, value in fields.items() if key != 'summary'}
            sides[name] = SideResult(**fields | {'verdict': Verdict(**fields['verdict'])})
        return cls(Work.from_dict(values['work']), values['allocator'], sides)
