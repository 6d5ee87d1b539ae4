"""mmengine's checkpoint hook, made so that at no moment less is on the disk than was promised."""

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook as _CheckpointHook
from mmengine.runner import CheckpointLoader, Runner

from mmswin import atomic
from mmswin.checkpoints import load_file, mmengine_loader
from mmswin.engine.processes import cpu_group, gather
from mmswin.engine.saving import resume_hint
from mmswin.errors import SavingError
from mmswin.registry import HOOKS


class _DeferredRemoval:
    """A storage backend that notes what to remove and removes it when told."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._removals: dict[str, Any] = {}

    def remove(self, path: str) -> None:
        self._removals[path] = self._backend.remove

    def rmtree(self, path: str) -> None:
        self._removals[path] = self._backend.rmtree

    def carry_out(self, kept: set[str | None]) -> None:
        for path, remove in self._removals.items():
            if path not in kept:
                remove(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


@HOOKS.register_module()
class CheckpointHook(_CheckpointHook):
    """mmengine's ``CheckpointHook`` with its arguments and file names, but for this:

    * ``last_checkpoint`` is written atomically, as :class:`mmswin.engine.saving.Runner` does with checkpoints;
    * what ``max_keep_ckpts`` and ``save_best`` give up is deleted when its successor is complete and not before. Where
      there is no room for one more, the oldest goes first after all, unless it is the only one;
    * leftovers of saves that were killed are deleted at the start;
    * a save that fails ends the run in all processes with the reason and with the checkpoint to go on from. A run that
      cannot be saved would only burn hours.

    Raises:
        SavingError: In all processes, from the hook, when a checkpoint cannot be written.
    """

    def before_train(self, runner: Runner) -> None:
        """Look up what earlier runs have left."""
        cpu_group()
        super().before_train(runner)
        self._keep_to_own_directory()
        if not is_main_process():
            return
        for directory in {runner.work_dir, self.out_dir}:
            if '://' not in str(directory):
                for name in atomic.remove_leftovers(directory):
                    runner.logger.info(f'Removed {name} in {directory}, left by a run that was killed while it saved')

    def _keep_to_own_directory(self) -> None:
        """Take best checkpoints, which are deleted for better ones, for files of ``out_dir`` alone."""

        def own(path: Any) -> str | None:
            name = os.path.basename(str(path))
            return self.file_backend.join_path(self.out_dir, name) if name.startswith('best_') else None

        if hasattr(self, 'best_ckpt_path'):
            self.best_ckpt_path = own(self.best_ckpt_path)
        if hasattr(self, 'best_ckpt_path_dict'):
            self.best_ckpt_path_dict = {key: own(path) for key, path in self.best_ckpt_path_dict.items()}

    def _save_checkpoint(self, runner: Runner) -> None:
        _agree(runner, partial(super()._save_checkpoint, runner))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        backend, self.file_backend = self.file_backend, _DeferredRemoval(self.file_backend)
        try:
            _agree(runner, partial(super()._save_best_checkpoint, runner, metrics))
            new = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()}
            self.file_backend.carry_out(kept=new)
        finally:
            self.file_backend = backend

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        kept = list(self.keep_ckpt_ids) if self.max_keep_ckpts > 0 else []
        steps = kept if kept[-1:] == [step] else [*kept, step]
        outdated = steps[: -self.max_keep_ckpts] if self.max_keep_ckpts > 0 else []
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        if self.max_keep_ckpts > 0:
            # With those that are about to go: should this process not live to delete them, the next one will.
            runner.message_hub.update_info('keep_ckpt_ids', steps)
        # The states of processes may be parts of one, so all must try again.
        fault = _fault_of_any(partial(self._write, runner, name, meta))
        if fault:
            if not outdated or len(kept) < 2:
                raise SavingError(fault)
            runner.logger.warning(
                f'{fault}. Trying again without {len(outdated)} that max_keep_ckpts='
                f'{self.max_keep_ckpts} would give up next'
            )
            self._delete(outdated)
            self._write(runner, name, meta)
        self._delete(outdated)
        if self.max_keep_ckpts > 0:
            steps = steps[-self.max_keep_ckpts :]
            self.keep_ckpt_ids = deque(steps, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', steps)

    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """Publish what the run itself has saved, its configuration included, which no run reads from a file."""
        CheckpointLoader.register_scheme('', load_file, force=True)
        try:
            super()._publish_model(runner, ckpt_path)
        finally:
            mmengine_loader.register()

    def _write(self, runner: Runner, name: str, meta: dict) -> None:
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=dict(meta),
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            atomic.write(f'{runner.work_dir}/last_checkpoint', str(self.last_ckpt))

    def _delete(self, steps: list[int]) -> None:
        if not is_main_process():
            return
        for step in steps:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):  # deepspeed's
                self.file_backend.rmtree(path)


def _fault_of_any(save: Callable[[], None]) -> str:
    """What kept any process from saving, known to all, '' if nothing did; all must call."""
    fault = ''
    try:
        save()
    except SavingError as error:
        fault = str(error)
    return next((text for text in gather(fault) if text), '')


def _agree(runner: Runner, save: Callable[[], None]) -> None:
    """Make what one process could not save the end of all of them; all must call."""
    fault = _fault_of_any(save)
    if fault:
        message = f'{fault}. Training stops; {resume_hint(runner.work_dir)}'
        runner.logger.error(message)
        raise SavingError(message)
