"""Curves of a training run, from the scalars that mmengine leaves in its work dir."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Line in the panel -> whether a logged scalar is part of it. A cascade logs each loss once per stage (s0, s1, s2).
_LOSS_PARTS: dict[str, Callable[[str], bool]] = {
    'proposals': lambda key: key.startswith('loss_rpn'),
    'classes': lambda key: key.split('.')[-1] == 'loss_cls',
    'boxes': lambda key: key.split('.')[-1] == 'loss_bbox',
    'masks': lambda key: key.split('.')[-1] == 'loss_mask',
    'head': lambda key: key.startswith('decode.loss'),
    'auxiliary head': lambda key: key.startswith('aux') and '.loss' in key,
}
# Name of a figure -> label, colour, line, and what it is when all is right (mmseg counts in percent).
_SCORES = {
    'coco/bbox_mAP_50': ('box AP50', 'C0', '-', 1),
    'coco/bbox_mAP': ('box AP', 'C0', '--', 1),
    'coco/segm_mAP_50': ('mask AP50', 'C1', '-', 1),
    'coco/segm_mAP': ('mask AP', 'C1', '--', 1),
    'mIoU': ('mIoU', 'C0', '-', 100),
    'mAcc': ('mean accuracy', 'C1', '--', 100),
    'aAcc': ('accuracy of all pixels', 'C2', ':', 100),
}


def read_scalars(work_dir: str | Path) -> tuple[list[dict], list[dict]]:
    """Scalars of the training in ``work_dir``, of all its starts: what a resumed run logs again replaces the old.

    Returns:
        Training records and validation records, each a dict whose ``step`` is an iteration, in order of steps.

    Raises:
        ValueError: No training was logged there.
    """
    train: dict[int, dict] = {}
    val: dict[int, dict] = {}
    for path in sorted(Path(work_dir).glob('*/vis_data/scalars.json')):
        last = None
        for line in path.read_text().splitlines():
            record = json.loads(line)
            if 'loss' in record:
                last = record['step']
                train[last] = record
            elif last is not None and 'step' in record:
                # By default mmengine counts validations in epochs, and all as 0 where training has none.
                step = max(last, record['step'])
                val[step] = dict(record, step=step)
    if not train:
        raise ValueError(f'{work_dir} has no */vis_data/scalars.json with a loss; is it the work dir of a training?')
    return [train[step] for step in sorted(train)], [val[step] for step in sorted(val)]


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel('iteration')
    axes.grid(alpha=0.3)
    axes.set_xlim(left=0)


def draw_curves(work_dir: str | Path, path: str | Path, title: str = '') -> Path:
    """Draw loss and AP or mIoU over the iterations of a training into one picture.

    Args:
        work_dir: Of the run.
        path: The PNG to write.
        title: Stands over the picture.

    Returns:
        ``path``.

    Raises:
        ValueError: Nothing was logged in ``work_dir``.
    """
    train, val = read_scalars(work_dir)
    figure = Figure(figsize=(11, 4.2), dpi=110, layout='constrained')
    losses, scores = figure.subplots(1, 2)
    steps = [record['step'] for record in train]
    losses.plot(steps, [record['loss'] for record in train], 'k', linewidth=2, label='all')
    for label, belongs in _LOSS_PARTS.items():
        keys = [key for key in train[0] if belongs(key)]
        if keys:
            losses.plot(steps, [sum(record[key] for key in keys) for record in train], label=label)
    # Room above the lines for the legend.
    losses.set_ylim(0, 1.3 * max(record['loss'] for record in train))
    losses.legend(loc='upper right', ncols=3)
    _finish(losses, 'training loss')
    for key, (label, colour, style, whole) in _SCORES.items():
        points = [(record['step'], record[key] / whole) for record in val if key in record]
        if points:
            scores.plot(*zip(*points, strict=True), style, color=colour, marker='o', markersize=3, label=label)
    scores.set_ylim(0, 1)
    if scores.lines:
        scores.legend(loc='best')
    _finish(scores, f'{"mIoU" if any("mIoU" in record for record in val) else "AP"} on the validation images')
    if title:
        figure.suptitle(title)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(str(path))
    return Path(path)
