"""Atomic checkpoints: complete, or not there.

mmengine writes under the final name. A process that is killed meanwhile, or a disk that is full, leaves part of a file
that looks like the newest checkpoint. :class:`Runner` writes every checkpoint through :class:`AtomicBackend`, a storage
backend registered the way mmengine intends; :mod:`mmswin.engine.checkpoint_hook` does the rest.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.fileio import LocalBackend, register_backend
from mmengine.model import is_model_wrapper
from torch import nn

from mmswin import atomic
from mmswin.engine.randomness import describe
from mmswin.engine.sharding import ShardingRunner
from mmswin.errors import SavingError, printable
from mmswin.registry import RUNNERS

BACKEND = 'mmswin.atomic'


def unwrapped(model: nn.Module) -> nn.Module:
    """A model without the wrapper that joins several processes."""
    return model.module if is_model_wrapper(model) else model


def last_checkpoint(work_dir: str | os.PathLike) -> str:
    """The name that a work dir's ``last_checkpoint`` holds, '' if there is none that can be one.

    A kill while mmengine's hook writes the file leaves it empty, a loss of power full of zeros.
    """
    pointer = Path(work_dir, 'last_checkpoint')
    name = pointer.read_text(errors='replace').strip() if pointer.is_file() else ''
    return '' if '\0' in name else name


def resume_hint(work_dir: str | os.PathLike) -> str:
    """Half a sentence for a run that ends early: where it can go on from."""
    last = printable(last_checkpoint(work_dir))
    if not last:
        return 'no checkpoint has been saved in this run'
    return f'the last complete checkpoint is {last}: repeat the command with --resume to go on'


@contextmanager
def explained_lack_of_room(work_dir: str | os.PathLike) -> Iterator[None]:
    """Turn the error of a log or a picture for which there is no room into one line.

    Raises:
        SavingError: Instead of that error.
    """
    try:
        yield
    except OSError as error:
        if not atomic.is_out_of_room(error):
            raise
        name = f' ({error.filename})' if error.filename else ''
        raise SavingError(
            f'nothing more can be written to {work_dir}{name}: {error.strerror}. Make room. Training '
            f'stops; {resume_hint(work_dir)}'
        ) from error


@register_backend(BACKEND)
class AtomicBackend(LocalBackend):
    """Local files, written by :mod:`mmswin.atomic`; what cannot be written raises its ``SavingError``."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        atomic.write(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        atomic.write(filepath, obj.encode(encoding))


@RUNNERS.register_module()
class Runner(ShardingRunner):
    """mmengine's Runner whose checkpoints on local disks are complete, whichever hook saves them."""

    def _maybe_compile(self, target: str) -> None:
        """``compile`` in the config compiles the backbone.

        mmengine compiles the whole step, boxes and losses and all: minutes, and then an error, for a detector.
        """
        backbone = getattr(unwrapped(self.model), 'backbone', None)
        options = self.cfg.get('compile')
        if not options or not isinstance(backbone, nn.Module):
            super()._maybe_compile(target)
            return
        backbone.compile(**({} if options is True else options))
        self.logger.info('compile: the backbone is compiled; the first iterations at each size of image are slow')

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict | None = None,
        *,
        meta: dict | None = None,
        by_epoch: bool = True,
        backend_args: dict | None = None,
        **kwargs: Any,
    ) -> None:
        """Save a checkpoint; arguments as for mmengine's. All processes must call, the first writes.

        Raises:
            SavingError: It could not be written; in the process that writes only.
        """
        meta = dict(meta or {})
        iteration = meta.get('iter', self.iter if by_epoch else self.iter + 1)
        meta['random_state'] = describe(self.seed, iteration)
        local = '://' not in str(out_dir) and (backend_args or {}).get('backend', 'local') == 'local'
        if file_client_args is None and local:
            backend_args = {'backend': BACKEND}
        super().save_checkpoint(
            out_dir, filename, file_client_args, meta=meta, by_epoch=by_epoch, backend_args=backend_args, **kwargs
        )
