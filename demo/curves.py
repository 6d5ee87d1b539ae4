"""Curves of a training run, from the scalars that mmengine leaves in its work dir."""

import json
from pathlib import Path

# Name of a figure -> label and what it is when all is right (mmseg counts in percent).
_SCORES = {
    'coco/bbox_mAP_50': ('box AP50', 1),
    'coco/bbox_mAP': ('box AP', 1),
    'coco/segm_mAP_50': ('mask AP50', 1),
    'coco/segm_mAP': ('mask AP', 1),
    'mIoU': ('mIoU', 100),
    'mAcc': ('mean accuracy', 100),
    'aAcc': ('accuracy of all pixels', 100),
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


def draw_curves(work_dir: str | Path, path: str | Path, title: str = '') -> Path:
    """Draw the losses, and AP or mIoU, over the iterations of a training into one PNG, and return its path.

    Raises:
        ValueError: Nothing was logged in ``work_dir``.
    """
    from matplotlib.figure import Figure

    train, val = read_scalars(work_dir)
    figure = Figure(figsize=(11, 4.2), dpi=110, layout='constrained')
    figure.suptitle(title)
    losses, scores = figure.subplots(1, 2)
    # A cascade logs each loss once per stage: they are added up under the last part of their name.
    names = sorted({key.split('.')[-1] for key in train[0] if 'loss' in key and key != 'loss'})
    for name in ('loss', *names):
        values = [sum(record[key] for key in record if key.split('.')[-1] == name) for record in train]
        losses.plot([record['step'] for record in train], values, label=name, linewidth=2 if name == 'loss' else 1)
    for key, (label, whole) in _SCORES.items():
        points = [(record['step'], record[key] / whole) for record in val if key in record]
        if points:
            scores.plot(*zip(*points, strict=True), marker='o', markersize=3, label=label)
    scores.set_ylim(0, 1)
    for axes, heading in ((losses, 'training loss'), (scores, 'on the validation images')):
        axes.set(title=heading, xlabel='iteration', xlim=(0, None))
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(str(path))
    return Path(path)
