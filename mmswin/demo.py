"""The demo: miniature data, ``tools/train.py``, ``tools/test.py``, pictures and curves, from nothing in minutes.

Calls the real tools as a user would, shows a line for each step of theirs, and keeps their full output beside the
results.  Each run gets a directory of its own; nothing of an earlier one is touched.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmswin.datasets.miniature import MiniatureSettings, ensure_miniature_coco

CONFIG = 'configs/demo_cascade_mask_rcnn_swin_t_miniature.py'
SETTINGS = MiniatureSettings(num_train=1200, num_val=80, image_size=112)
_QUICK_SETTINGS = MiniatureSettings(num_train=8, num_val=4, image_size=56)
_QUICK_OPTIONS = {
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 2,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 2,
    'train_dataloader.batch_size': 2,
}
_COLUMNS = (('AP', 'mAP'), ('AP50', 'mAP_50'), ('AP75', 'mAP_75'), ('small', 'mAP_s'), ('medium', 'mAP_m'),
            ('large', 'mAP_l'))  # fmt: skip

_TRAINED = re.compile(r'Iter\(train\) \[ *(\d+)/(\d+)\].* loss: ([\d.naif]+)')
_TESTED = re.compile(r'Iter\((?:val|test)\) \[ *(\d+)/(\d+)\]')
_SCORE = re.compile(r'coco/(bbox|segm)_mAP_50: (-?[\d.]+)')


class DemoError(RuntimeError):
    """A step of the demo failed; the message says which, and where its output is."""


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does where.

    Attributes:
        root: The checkout: has configs/ and tools/; relative paths are relative to it.
        data_dir: Gets the miniature COCO; used as it is if it is there, whole.
        work_dir: Gets a directory ``run_N`` for each run.
        settings: Of the data.
        options: ``--cfg-options`` for both tools.
    """

    root: Path
    data_dir: Path
    work_dir: Path
    settings: MiniatureSettings = SETTINGS
    options: Mapping[str, object] = field(default_factory=dict)


def plan_demo(root: Path, data_dir: Path | None = None, work_dir: Path | None = None, quick: bool = False) -> DemoPlan:
    """The plan with the usual places; ``quick`` makes a few iterations only, which learn nothing."""
    data_dir = data_dir or root / 'data' / ('miniature_coco_quick' if quick else 'miniature_coco')
    work_dir = work_dir or root / 'work_dirs' / ('demo_quick' if quick else 'demo')
    options: dict[str, object] = {}
    for split in ('train', 'val', 'test'):
        options[f'{split}_dataloader.dataset.data_root'] = str(data_dir)
    for split in ('val', 'test'):
        options[f'{split}_evaluator.ann_file'] = str(data_dir / 'annotations' / 'instances_val2017.json')
    if quick:
        options.update(_QUICK_OPTIONS)
    return DemoPlan(root, data_dir, work_dir, _QUICK_SETTINGS if quick else SETTINGS, options)


def new_run_dir(work_dir: Path) -> Path:
    """Make and return the first of ``run_1``, ``run_2``, ... behind all that are there."""
    taken = [int(path.name[4:]) for path in work_dir.glob('run_*') if path.name[4:].isdecimal()]
    path = work_dir / f'run_{max(taken, default=0) + 1}'
    path.mkdir(parents=True)
    return path


def duration(seconds: float) -> str:
    """Seconds for people: ``'45 s'``, ``'3 min 20 s'``."""
    whole = max(0, round(seconds))
    return f'{whole} s' if whole < 60 else f'{whole // 60} min {whole % 60:02d} s'


def shown(path: Path) -> str:
    """A path for people: relative to the current directory if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


class Progress:
    """Turns the log of a tool into a line for each step, with the time left, which counts validations as well."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._first: tuple[int, float] | None = None
        self._in_banner = False

    def feed(self, line: str) -> None:
        """Take one line of the tool's output."""
        line = line.rstrip()
        # The banner is one log entry of several lines, of which those behind the first are indented.
        self._in_banner = 'This run (' in line or (self._in_banner and line.startswith('  '))
        if self._in_banner:
            self._say('  ' + line[max(line.find('This run ('), 0):])
            return
        scores = dict(_SCORE.findall(line))
        if scores:
            names = {'bbox': 'box', 'segm': 'mask'}
            self._say('  ' + ', '.join(f'{names[kind]} AP50 {float(score):.3f}' for kind, score in scores.items()))
        elif match := _TRAINED.search(line):
            done, total, loss = int(match[1]), int(match[2]), match[3]
            now = self._clock()
            if self._first is None:
                self._first = (done, now)
            begun, start = self._first
            left = f', {duration((now - start) / (done - begun) * (total - done))} left' if done > begun else ''
            self._say(f'  iteration {done:>{len(match[2])}}/{total}, loss {float(loss):.2f}{left}')
        elif (match := _TESTED.search(line)) and self._first is None:
            self._say(f'  batch {match[1]}/{match[2]}')
        elif ' - ERROR - ' in line or line.startswith('error: '):
            self._say('  ' + line)


def run_tool(command: Sequence[str], log: Path, root: Path, say: Callable[[str], None]) -> None:
    """Run a tool, its output into ``log`` and in short to ``say``.

    Raises:
        DemoError: It failed.
    """
    progress, last = Progress(say), deque(maxlen=25)
    # Threads that spin while they wait make a machine that has other work to do several times slower.
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ, 'PYTHONUNBUFFERED': '1'}
    with (
        log.open('w') as full,
        subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors='replace',
        ) as process,
    ):  # fmt: skip
        for line in process.stdout:
            full.write(line)
            full.flush()
            last.append(line)
            progress.feed(line)
    if process.returncode:
        tool = next(Path(word).name for word in command if word.endswith('.py'))
        raise DemoError(
            f'{tool} failed with status {process.returncode}; its last lines:\n{"".join(last)}All of it: {log}'
        )


def read_scores(test_dir: Path) -> dict[str, float]:
    """The figures of the newest test in a work dir of ``tools/test.py``, as ``{'coco/bbox_mAP': ..., ...}``.

    Raises:
        DemoError: There are none.
    """
    for path in sorted(test_dir.glob('*/*.json'), reverse=True):
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith('{')]
        for scores in reversed(lines):
            if any(key.startswith('coco/') for key in scores):
                return scores
    raise DemoError(f'no AP in {test_dir}: the test found nothing at all, or was stopped; see the log beside it')


def ap_table(scores: Mapping[str, float]) -> str:
    """AP of boxes and masks as a table; ``-`` where no object is of that size."""
    rows = ['      ' + ''.join(f'{title:>8}' for title, _ in _COLUMNS)]
    for name, kind in (('box', 'bbox'), ('mask', 'segm')):
        values = (scores.get(f'coco/{kind}_{key}', -1.0) for _, key in _COLUMNS)
        rows.append(f'{name:<6}' + ''.join(f'{"-" if value < 0 else f"{value:.3f}":>8}' for value in values))
    return '\n'.join(rows)


def _make_data(plan: DemoPlan, say: Callable[[str], None]) -> None:
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        if done % 400 == 0:
            say(f'  {done}/{total} images, {duration((time.monotonic() - start) / done * (total - done))} left')

    made = ensure_miniature_coco(plan.data_dir, plan.settings, progress)
    settings = plan.settings
    say(f'  {settings.num_train} training and {settings.num_val} validation images of {", ".join(settings.classes)}: '
        f'{"made" if made else "there already"}')  # fmt: skip


def run_demo(plan: DemoPlan, say: Callable[[str], None] = print) -> dict[str, float]:
    """Do all of it.

    Args:
        plan: What and where.
        say: Gets each line for the user.

    Returns:
        The scores of the test, ``coco/bbox_mAP_50`` among them.

    Raises:
        DemoError: A tool failed.
        MiniatureError: The data cannot go where it should.
    """
    begin = time.monotonic()
    say(f'[1/4] data: a miniature COCO in {shown(plan.data_dir)}')
    _make_data(plan, say)
    run_dir = new_run_dir(plan.work_dir)
    options = ['--cfg-options', *(f'{key}={value}' for key, value in plan.options.items())] if plan.options else []
    tools = plan.root / 'tools'

    say(f'[2/4] train: tools/train.py {CONFIG} (all its output: {shown(run_dir / "train.txt")})')
    train_dir = run_dir / 'train'
    command = [sys.executable, str(tools / 'train.py'), CONFIG, '--work-dir', str(train_dir), '--seed', '0', *options]
    run_tool(command, run_dir / 'train.txt', plan.root, say)
    checkpoint = Path((train_dir / 'last_checkpoint').read_text().strip())

    say(f'[3/4] test: tools/test.py {CONFIG} {shown(checkpoint)} (all its output: {shown(run_dir / "test.txt")})')
    predictions, test_dir = run_dir / 'predictions.pkl', run_dir / 'test'
    command = [sys.executable, str(tools / 'test.py'), CONFIG, str(checkpoint), '--work-dir', str(test_dir),
               '--out', str(predictions), *options]  # fmt: skip
    run_tool(command, run_dir / 'test.txt', plan.root, say)
    scores = read_scores(test_dir)

    say('[4/4] pictures and curves')
    # Here and not above: they import mmdet, and the data and both tools can do without that in this process.
    from mmswin.visualization.curves import draw_curves
    from mmswin.visualization.predictions import draw_comparisons

    pictures = draw_comparisons(
        predictions,
        plan.data_dir / 'annotations' / 'instances_val2017.json',
        plan.data_dir / 'val2017',
        run_dir / 'pictures',
        plan.settings.classes,
    )
    curves = draw_curves(train_dir, run_dir / 'curves.png', 'Cascade Mask R-CNN, Swin, miniature COCO')
    say(f'\n{ap_table(scores)}\n')
    for name, path in (
        ('pictures', pictures[0]), ('one by one', pictures[0].parent), ('curves', curves), ('checkpoint', checkpoint),
        ('predictions', predictions),
    ):  # fmt: skip
        say(f'{name:<12} {shown(path)}')
    say(f'{"time":<12} {duration(time.monotonic() - begin)}')
    return scores
