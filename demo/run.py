"""The steps of the demo, one after the other."""

import json
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from demo.tasks import QUICK, TASKS, Scores, Task
from mmswin.data.miniature import is_complete, make_miniature

Say = Callable[[str], None]
# Lines of a tool's log that are shown while it runs, and what stands before and in them without being needed.
_SHOWN = re.compile(r'Iter\((?:train|val|test)\)|coco/bbox_mAP_50| - ERROR - |^error: |This run \(')
_NEEDLESS = re.compile(
    r'^\S+ \S+ - \S+ - INFO - |\S*\blr: \S+ +|(?:data_)?time: \S+ +|\S*(?:loss|acc)_\S+: \S+ *|memory: \S+ +'
)
_WIDTH = 110


class DemoError(RuntimeError):
    """A step of the demo failed; the message says which, and where its output is."""


def shown(path: Path) -> str:
    """A path for people: relative to the current directory if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def run_tool(command: Sequence[object], log: Path, root: Path, say: Say) -> None:
    """Run a tool, its output into ``log`` and the lines that tell how far it is to ``say``.

    Raises:
        DemoError: It failed.
    """
    last: deque[str] = deque(maxlen=25)
    # Threads that spin while they wait make a machine that has other work to do several times slower.
    environment = {'OMP_WAIT_POLICY': 'PASSIVE', **os.environ, 'PYTHONUNBUFFERED': '1'}
    with (
        log.open('w') as full,
        subprocess.Popen(
            [str(part) for part in command], cwd=root, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors='replace',
        ) as process,
    ):  # fmt: skip
        banner = False
        for line in process.stdout or ():
            full.write(line)
            full.flush()
            last.append(line)
            # The banner is one log entry of several lines, of which those behind the first are indented.
            banner = 'This run (' in line or (banner and line.startswith('  '))
            if banner or _SHOWN.search(line):
                say('  ' + _NEEDLESS.sub('', line.rstrip())[:_WIDTH])
    if process.returncode:
        tool = next(Path(str(part)).name for part in command if str(part).endswith('.py'))
        raise DemoError(
            f'{tool} failed with status {process.returncode}; its last lines:\n{"".join(last)}All of it: {log}'
        )


def new_run_dir(work_dir: Path) -> Path:
    """Make and return the first of ``run_1``, ``run_2``, ... behind all that are there."""
    taken = [int(path.name[4:]) for path in work_dir.glob('run_*') if path.name[4:].isdecimal()]
    path = work_dir / f'run_{max(taken, default=0) + 1}'
    path.mkdir(parents=True)
    return path


def read_scores(test_dir: Path, score: str) -> Scores:
    """The figures of the newest test in a work dir of ``tools/test.py``, as ``{'coco/bbox_mAP': ..., ...}``.

    Raises:
        DemoError: There are none whose names begin with ``score``.
    """
    for path in sorted(test_dir.glob('*/*.json'), reverse=True):
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.startswith('{')]
        for scores in reversed(lines):
            if any(key.startswith(score) for key in scores):
                return scores
    name = 'AP' if score.startswith('coco') else score
    raise DemoError(f'no {name} in {test_dir}: the test found nothing at all, or was stopped; see its log there')


def _show(task: Task, root: Path, data: Path, run_dir: Path, quick: bool, start: Path | None, say: Say) -> Path:
    """Train, test and draw; returns the checkpoint."""
    from demo.curves import draw_curves

    options = ['--cfg-options', *task.options(data), *(QUICK if quick else ())]
    load = [] if start is None else ['--load-from', start]
    say(f'{task.name}: train: tools/train.py {task.config} (all its output: {shown(run_dir / "train.txt")})')
    train = [sys.executable, root / 'tools' / 'train.py', task.config, '--work-dir', run_dir / 'train', '--seed', 0]
    run_tool([*train, *load, *options], run_dir / 'train.txt', root, say)
    checkpoint = Path((run_dir / 'train' / 'last_checkpoint').read_text().strip())
    predictions = run_dir / 'predictions.pkl'
    say(f'{task.name}: test: tools/test.py {task.config} {shown(checkpoint)}')
    test = [sys.executable, root / 'tools' / 'test.py', task.config, checkpoint, '--work-dir', run_dir / 'test']
    run_tool([*test, '--out', predictions, *options], run_dir / 'test.txt', root, say)
    scores = read_scores(run_dir / 'test', task.score)
    say(f'{task.name}: pictures and curves')
    pictures = task.draw(predictions, data, run_dir / 'pictures')
    curves = draw_curves(run_dir / 'train', run_dir / 'curves.png', task.title)
    say(f'\n{task.table(scores, data)}\n')
    places = {'pictures': pictures[0], 'one by one': pictures[0].parent, 'curves': curves, 'checkpoint': checkpoint}
    for name, path in {**places, 'predictions': predictions}.items():
        say(f'{name:<12} {shown(path)}')
    return checkpoint


def run_demo(
    root: Path,
    data_dir: Path | None = None,
    work_dir: Path | None = None,
    quick: bool = False,
    only: str | None = None,
    say: Say = print,
) -> None:
    """Make toy data, train and test on them, and show what came of it, each line by ``say``.

    ``root`` is the checkout; ``data_dir`` gets a directory for each data set (what is there whole is used as it is), and
    ``work_dir`` one ``run_N`` for each run; ``quick`` makes a few iterations that learn nothing; ``only`` names one task.

    Raises:
        DemoError: A tool failed.
        MiniatureError: The data cannot go where they should.
    """
    begin = time.monotonic()
    tasks = [task for task in TASKS if only in (None, task.name)]
    data = {task.name: (data_dir or root / 'data') / (task.folder + '_quick' * quick) for task in tasks}
    # All data first: what is in their way stops the demo before anything is trained.
    for task in tasks:
        settings = task.quick_settings if quick else task.settings
        made = not is_complete(data[task.name], settings, task.kind)
        if made:
            make_miniature(task.kind, data[task.name], settings, force=True)
        say(f'data: a miniature {task.kind} in {shown(data[task.name])}: {"made" if made else "there already"}')
    run_dir = new_run_dir(work_dir or root / 'work_dirs' / ('demo_quick' if quick else 'demo'))
    checkpoints: dict[str | None, Path] = {}
    for task in tasks:
        (run_dir / task.name).mkdir()
        start = checkpoints.get(task.starts_from)
        checkpoints[task.name] = _show(task, root, data[task.name], run_dir / task.name, quick, start, say)
    say(f'{"time":<12} {round(time.monotonic() - begin)} s')
