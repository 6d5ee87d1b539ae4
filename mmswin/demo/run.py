"""The steps of the demo, one after the other."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmswin.demo.halves import HALVES, Half
from mmswin.demo.progress import DemoError, duration, run_tool, shown

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoPlan:
    """What the demo does where.

    Attributes:
        root: The checkout: has configs/ and tools/; relative paths are relative to it.
        data_dir: Gets a directory for each data set; what is there whole is used as it is.
        work_dir: Gets a directory ``run_N`` for each run.
        halves: What to show, in this order.
        quick: A few iterations on a few images only, which learn nothing.
    """

    root: Path
    data_dir: Path
    work_dir: Path
    halves: Sequence[Half] = HALVES
    quick: bool = False

    def data_of(self, half: Half) -> Path:
        """Directory of the data of one half."""
        return self.data_dir / (half.folder + '_quick' * self.quick)

    def options_of(self, half: Half) -> dict[str, object]:
        """``--cfg-options`` of one half, for both tools."""
        return {**half.options(self.data_of(half)), **(half.quick_options if self.quick else {})}


def plan_demo(
    root: Path, data_dir: Path | None = None, work_dir: Path | None = None, quick: bool = False, only: str | None = None
) -> DemoPlan:
    """The plan with the usual places; ``only`` names one half, ``quick`` makes a few iterations that learn nothing."""
    work_dir = work_dir or root / 'work_dirs' / ('demo_quick' if quick else 'demo')
    halves = [half for half in HALVES if only in (None, half.name)]
    return DemoPlan(root, data_dir or root / 'data', work_dir, halves, quick)


def new_run_dir(work_dir: Path) -> Path:
    """Make and return the first of ``run_1``, ``run_2``, ... behind all that are there."""
    taken = [int(path.name[4:]) for path in work_dir.glob('run_*') if path.name[4:].isdecimal()]
    path = work_dir / f'run_{max(taken, default=0) + 1}'
    path.mkdir(parents=True)
    return path


def read_scores(test_dir: Path, score: str) -> dict[str, float]:
    """The figures of the newest test in a work dir of ``tools/test.py``, as ``{'coco/bbox_mAP': ..., ...}``.

    Args:
        test_dir: The work dir.
        score: How the names of the wanted figures begin.

    Raises:
        DemoError: There are none.
    """
    for path in sorted(test_dir.glob('*/*.json'), reverse=True):
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith('{')]
        for scores in reversed(lines):
            if any(key.startswith(score) for key in scores):
                return scores
    name = 'AP' if score.startswith('coco') else score
    raise DemoError(f'no {name} in {test_dir}: the test found nothing at all, or was stopped; see the log beside it')


def _make_data(plan: DemoPlan, half: Half, say: Say) -> None:
    start = time.monotonic()
    settings = half.quick_settings if plan.quick else half.settings

    def progress(done: int, total: int) -> None:
        if done % 400 == 0:
            say(f'  {done}/{total} images, {duration((time.monotonic() - start) / done * (total - done))} left')

    made = half.ensure(plan.data_of(half), settings, progress)
    say(f'  {settings.num_train} training and {settings.num_val} validation images of {", ".join(settings.classes)}: '
        f'{"made" if made else "there already"}')  # fmt: skip


def _train_and_test(
    plan: DemoPlan, half: Half, run_dir: Path, start: Path | None, heading: Say, say: Say
) -> tuple[Path, Path]:
    """The checkpoint, and the pickle of the predictions."""
    options = ['--cfg-options', *(f'{key}={value}' for key, value in plan.options_of(half).items())]
    tools = plan.root / 'tools'
    load = [] if start is None else ['--load-from', str(start)]
    loading = f' --load-from {shown(start)}' if start else ''
    heading(f'train: tools/train.py {half.config}{loading} (all its output: {shown(run_dir / "train.txt")})')
    train_dir = run_dir / 'train'
    command = [sys.executable, str(tools / 'train.py'), half.config, '--work-dir', str(train_dir), '--seed', '0',
               *load, *options]  # fmt: skip
    run_tool(command, run_dir / 'train.txt', plan.root, say)
    checkpoint = Path((train_dir / 'last_checkpoint').read_text().strip())

    heading(f'test: tools/test.py {half.config} {shown(checkpoint)} (all its output: {shown(run_dir / "test.txt")})')
    predictions = run_dir / 'predictions.pkl'
    command = [sys.executable, str(tools / 'test.py'), half.config, str(checkpoint), '--work-dir',
               str(run_dir / 'test'), '--out', str(predictions), *options]  # fmt: skip
    run_tool(command, run_dir / 'test.txt', plan.root, say)
    return checkpoint, predictions


def _show_half(
    plan: DemoPlan, half: Half, run_dir: Path, start: Path | None, heading: Say, say: Say
) -> tuple[Mapping[str, float], Path]:
    """The scores of the test, and the checkpoint."""
    run_dir.mkdir()
    checkpoint, predictions = _train_and_test(plan, half, run_dir, start, heading, say)
    scores = read_scores(run_dir / 'test', half.score)
    heading('pictures and curves')
    # Here and not above: it imports matplotlib, and the data and both tools can do without that in this process.
    from mmswin.visualization.curves import draw_curves

    pictures = half.draw(predictions, plan.data_of(half), run_dir / 'pictures', half.classes)
    curves = draw_curves(run_dir / 'train', run_dir / 'curves.png', half.title)
    say(f'\n{half.table(scores, plan.data_of(half))}\n')
    for name, path in (
        ('pictures', pictures[0]), ('one by one', pictures[0].parent), ('curves', curves), ('checkpoint', checkpoint),
        ('predictions', predictions),
    ):  # fmt: skip
        say(f'{name:<12} {shown(path)}')
    return scores, checkpoint


def run_demo(plan: DemoPlan, say: Say = print) -> dict[str, Mapping[str, float]]:
    """Do all of it.

    Args:
        plan: What and where.
        say: Gets each line for the user.

    Returns:
        The scores of the test of each half, by its name.

    Raises:
        DemoError: A tool failed.
        MiniatureError: The data cannot go where they should.
    """
    begin, steps = time.monotonic(), 4 * len(plan.halves)
    done = 0

    def heading(text: str) -> None:
        nonlocal done
        done += 1
        say(f'[{done}/{steps}] {text}')

    # All data first: what is in their way stops the demo before anything is trained.
    for half in plan.halves:
        heading(f'data: a miniature {half.data} in {shown(plan.data_of(half))}')
        _make_data(plan, half, say)
    run_dir = new_run_dir(plan.work_dir)
    scores: dict[str, Mapping[str, float]] = {}
    checkpoints: dict[str | None, Path] = {}
    for half in plan.halves:
        start = checkpoints.get(half.starts_from)
        scores[half.name], checkpoints[half.name] = _show_half(plan, half, run_dir / half.name, start, heading, say)
    say(f'{"time":<12} {duration(time.monotonic() - begin)}')
    return scores
