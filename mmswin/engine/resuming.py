"""Which checkpoint a run resumes from, and what it must hold."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.mmengine_loader import load_from_mmswin
from mmswin.data.config_facts import dicts_in, short_name
from mmswin.engine.saving import last_checkpoint
from mmswin.errors import RunError, printable

# What Runner.resume reads; a file without them is weights, not a run.
_NEEDED = ('state_dict', 'optimizer', 'meta', 'message_hub')

# Parts of mmdet that remember what came before.
_MEMORIES = {
    'CachedMosaic': 'mixes with images that it has seen before, and has seen none yet',
    'CachedMixUp': 'mixes with images that it has seen before, and has seen none yet',
    'BatchSyncRandomResize': 'starts at its first size until it draws the next one',
}


def has_checkpoints(work_dir: str | Path) -> bool:
    """Whether a directory holds what an earlier training run saved."""
    work_dir = Path(work_dir)
    return work_dir.is_dir() and ((work_dir / 'last_checkpoint').exists() or any(work_dir.glob('*.pth')))


def is_of_run(source: str | Path, work_dir: str | Path) -> bool:
    """Whether a checkpoint lies where the run in a work dir keeps its own."""
    own = {os.path.realpath(place) for place in (work_dir, os.path.dirname(last_checkpoint(work_dir)) or work_dir)}
    return not own.isdisjoint({os.path.dirname(os.path.realpath(source)), os.path.realpath(os.path.dirname(source))})


def load_resumable(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint and make sure that training can go on from it.

    Raises:
        CheckpointError: Missing, truncated, or not a checkpoint.
        RunError: A checkpoint without the state of the run.
    """
    checkpoint = load_from_mmswin(str(path))
    missing = [name for name in _NEEDED if not isinstance(checkpoint.get(name), Mapping)]
    if missing or not {'iter', 'epoch'} <= checkpoint['meta'].keys():
        raise RunError(
            f'{path} holds no training state ({", ".join(missing) or "meta.iter or meta.epoch"} missing), so nothing can '
            'be resumed from it; to start from its weights use --load-from'
        )
    return checkpoint


def newest_complete_checkpoint(work_dir: str | Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Find the checkpoint that ``--resume`` without a path goes on from.

    That is the one named in ``last_checkpoint``, or, when it is not complete (a run that was killed while it saved leaves
    a truncated file), the newest of the others that is.

    Returns:
        The path, its content, and a line for each file that was passed over.

    Raises:
        RunError: There is none.
    """
    work_dir = Path(work_dir)
    times = {path: _time(path) for path in work_dir.glob('*.pth') if not path.name.startswith('best_')}
    candidates = sorted(times, key=times.__getitem__, reverse=True)
    if name := last_checkpoint(work_dir):
        named = Path(name)
        # A work dir that was moved or copied holds its checkpoints, but the pointer names the old place.
        named = named if _time(named) else work_dir / named.name
        newer = [path for path in candidates if 0 < _time(named) < times[path]]
        candidates = list(dict.fromkeys([*newer, named, *candidates]))
    passed_over = []
    for path in candidates:
        try:
            return path, load_resumable(path), passed_over
        except (CheckpointError, RunError, OSError) as error:
            passed_over.append(f'passed over {printable(path.name)}: {error}')
    if passed_over:
        raise RunError(f'--resume: no complete checkpoint in {work_dir}: ' + '; '.join(passed_over))
    raise RunError(
        f'--resume: {os.fspath(work_dir)} holds no checkpoint; start without --resume, name the checkpoint '
        '(--resume FILE), or name the directory of the earlier run (--work-dir DIR)'
    )


def _time(path: Path) -> float:
    """When a file was changed; 0 for none, such as a link that leads nowhere or in a circle."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def forgotten(cfg: Config, checkpoint: dict[str, Any]) -> list[str]:
    """What a checkpoint does not bring back, so that the resumed run is not to the bit the one that was stopped.

    Returns:
        Lines for the banner.
    """
    types = {short_name(node.get('type')) for part in ('train_dataloader', 'model') for node in dicts_in(cfg.get(part))}
    effect = 'this run goes on, but not to the bit as if it had not been stopped'
    notes = [f'{name} {what}: {effect}' for name, what in _MEMORIES.items() if name in types]
    counts, iteration = cfg.optim_wrapper.get('accumulative_counts', 1), checkpoint['meta']['iter']
    if iteration % counts:
        notes.append(
            f'the checkpoint is of iteration {iteration}, among {counts} whose gradients are accumulated: '
            f'those of the last {iteration % counts} are lost. Save at multiples of {counts}'
        )
    return notes
