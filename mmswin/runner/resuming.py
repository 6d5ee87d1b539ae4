"""Which checkpoint a run resumes from, and what it must hold."""

import os
from pathlib import Path
from typing import Any

from mmswin.checkpoints import CheckpointError
from mmswin.runner import reading
from mmswin.runner.errors import RunError

# What Runner.resume reads; a file without them is weights, not a run.
_NEEDED = ('state_dict', 'optimizer', 'meta', 'message_hub')


def has_checkpoints(work_dir: str | Path) -> bool:
    """Whether a directory holds what an earlier training run saved."""
    work_dir = Path(work_dir)
    return work_dir.is_dir() and ((work_dir / 'last_checkpoint').exists() or any(work_dir.glob('*.pth')))


def load_resumable(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint and make sure that training can go on from it.

    Raises:
        CheckpointError: Missing, truncated, or not a checkpoint.
        RunError: A checkpoint without the state of the run.
    """
    checkpoint = reading.read(str(path))
    missing = [name for name in _NEEDED if name not in checkpoint]
    if missing or 'iter' not in checkpoint['meta']:
        raise RunError(f'{path} holds no training state ({", ".join(missing) or "meta.iter"} missing), so nothing can '
                       'be resumed from it; to start from its weights use --load-from')
    return checkpoint


def newest_whole_checkpoint(work_dir: str | Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Find the checkpoint that ``--resume`` without a path goes on from.

    That is the one named in ``last_checkpoint``, or, when it is not whole (a run that was killed while it saved leaves
    a truncated file), the newest of the others that is.

    Returns:
        The path, its content, and a line for each file that was passed over.

    Raises:
        RunError: There is none.
    """
    work_dir = Path(work_dir)
    candidates = sorted((p for p in work_dir.glob('*.pth') if not p.name.startswith('best_')),
                        key=lambda p: p.stat().st_mtime, reverse=True)
    pointer = work_dir / 'last_checkpoint'
    if pointer.is_file():
        named = Path(pointer.read_text().strip())
        # A work dir that was moved or copied holds its checkpoints, but the pointer names the old place.
        named = named if named.exists() else work_dir / named.name
        newer = [p for p in candidates if named.exists() and p.stat().st_mtime > named.stat().st_mtime]
        candidates = list(dict.fromkeys([*newer, named, *candidates]))
    passed_over = []
    for path in candidates:
        try:
            return path, load_resumable(path), passed_over
        except (CheckpointError, RunError) as error:
            passed_over.append(f'passed over {path.name}: {error}')
    if passed_over:
        raise RunError(f'--resume: no whole checkpoint in {work_dir}: ' + '; '.join(passed_over))
    raise RunError(f'--resume: {os.fspath(work_dir)} holds no checkpoint; start without --resume, name the checkpoint '
                   '(--resume FILE), or name the directory of the earlier run (--work-dir DIR)')
