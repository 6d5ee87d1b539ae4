"""Whether two runs of a recipe compute the same: maps, losses and predictions of their first iterations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# Relative root mean square of the maps' difference: float32 keeps to 1e-5, mixed precision to a few thousandths.
MAPS = {'float32': 1e-4, 'mixed': 3e-2}
# Losses and predictions come behind choices (which proposals are kept, which class is first) that rounding may turn.
LOSSES = {'float32': 0.02, 'mixed': 0.1}
PREDICTIONS = {'float32': 0.95, 'mixed': 0.7}
_SAME_BOX, _SAME_SCORE = 0.9, 0.02


def disagreement(ours: Mapping[str, Any], theirs: Mapping[str, Any], precision: str) -> str | None:
    """What differs between two observations of :class:`mmswin.benchmark.measure_hook.MeasureHook`; None if nothing.

    Args:
        ours: One of them.
        theirs: The other, the one that is right.
        precision: ``'float32'``, or ``'mixed'`` when the runs used autocast.
    """
    for number, (a, b) in enumerate(zip(ours['maps'], theirs['maps'], strict=True)):
        if a.shape != b.shape:
            return f'map {number} is {tuple(a.shape)} and not {tuple(b.shape)}'
        error = ((a - b).square().mean() / b.square().mean()).sqrt().item()
        if not error <= MAPS[precision]:
            return f'map {number} differs by {error:.1e} of its size, more than {MAPS[precision]:.0e}'
    if 'losses' in theirs:
        return _losses_differ(ours['losses'], theirs['losses'], LOSSES[precision])
    agree = agreeing(ours['predictions'], theirs['predictions'])
    if agree < PREDICTIONS[precision]:
        return f'only {agree:.1%} of the predictions agree, and {PREDICTIONS[precision]:.0%} have to'
    return None


def _losses_differ(ours: Mapping[str, float], theirs: Mapping[str, float], tolerance: float) -> str | None:
    if set(ours) != set(theirs):
        return f'the losses are {sorted(ours)} and not {sorted(theirs)}'
    for name, value in theirs.items():
        if not abs(ours[name] - value) <= tolerance * max(abs(value), abs(theirs['loss']) / 10):
            return f'{name} is {ours[name]:.6g} and not {value:.6g}'
    return None


def agreeing(ours: Sequence[Mapping[str, Tensor]], theirs: Sequence[Mapping[str, Tensor]]) -> float:
    """Part of the predictions that are the same: pixels of one label, or boxes of one label, place and score.

    All of them where neither side predicts anything.
    """
    same = total = 0
    for a, b in zip(ours, theirs, strict=True):
        if 'map' in b:
            same += (a['map'] == b['map']).sum().item()
            total += b['map'].numel()
            continue
        from mmdet.structures.bbox import bbox_overlaps

        overlap = bbox_overlaps(b['bboxes'], a['bboxes'])
        near = (b['scores'][:, None] - a['scores'][None]).abs() <= _SAME_SCORE
        match = (overlap >= _SAME_BOX) & near & (b['labels'][:, None] == a['labels'][None])
        same += match.any(1).sum().item() if a['bboxes'].numel() else 0
        total += max(len(a['bboxes']), len(b['bboxes']))
    return same / total if total else 1.0


def load(path: str) -> dict[str, Any]:
    """An observation from its file."""
    return torch.load(path, weights_only=True)
