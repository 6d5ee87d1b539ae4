"""What ``mmswin train`` and ``mmswin test`` do: configure, check, then hand over to mmengine's Runner."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS
from torch import nn

import mmswin.registry  # noqa: F401  registers the types that a checkpoint may hold, whatever the config
from mmswin.checkpoints import mmengine_loader
from mmswin.checkpoints.mmengine_loader import load_from_mmswin
from mmswin.engine import class_counts, configure, dry_build, lock, preflight, resuming, strategies, testing
from mmswin.engine.banner import RunBannerHook
from mmswin.engine.precision import autocast_type, set_precision
from mmswin.engine.processes import explained_loss_of_process, follow_launcher, is_first_process
from mmswin.engine.saving import Runner, explained_lack_of_room
from mmswin.engine.stopping import StopOnSignalHook
from mmswin.errors import CheckpointError, RunError, is_first_local_process, plain_message, printable

TRAIN_HOOKS = ('mmswin.RunBannerHook', 'mmswin.NonFiniteLossHook', 'mmswin.StopOnSignalHook')


@mmengine_loader.trusting()
def train(
    config: str,
    work_dir: str | None = None,
    resume: str | None = None,
    load_from: str | None = None,
    amp: str | None = None,
    cfg_options: Sequence[str] | dict[str, Any] | None = None,
    auto_scale_lr: bool = False,
    seed: int | None = None,
    deterministic: bool = False,
    launcher: str = 'none',
    overwrite: bool = False,
    trust_checkpoint: bool = False,
    skip_data_check: bool = False,
    skip_preflight: bool = False,
    ignore_lock: bool = False,
) -> None:
    """Train a config of mmdet or mmseg; the arguments are the options of ``mmswin train``.

    ``resume`` is ``'auto'`` for ``--resume`` without a file, ``amp`` is ``'auto'`` for ``--amp`` without a kind, and
    ``cfg_options`` may also be a dict from dotted keys to values.

    Raises:
        RunError: Something that the user can fix; nothing has been written then.
        CheckpointError: A checkpoint that cannot be used; nothing has been written then.
        NonFiniteLossError: A loss became NaN or infinite.
        SavingError: A checkpoint cannot be written; the last one is complete.
        LostProcessError: Another process of the run has ended.
    """
    if resume and load_from:
        raise RunError('--resume and --load-from exclude each other: resuming restores the weights and all the rest')
    cfg = configure.load_config(config, cfg_options, work_dir)
    configure.check_sections(cfg, 'train')
    configure.set_randomness(cfg, seed, deterministic)
    if auto_scale_lr:
        configure.enable_lr_scaling(cfg)
    if resume:
        cfg.resume, cfg.load_from = True, None if resume == 'auto' else resume
    elif load_from:
        cfg.resume, cfg.load_from = False, load_from
    if trust_checkpoint:
        mmengine_loader.trust(cfg.work_dir if resume == 'auto' else cfg.get('load_from'))
    precision = set_precision(cfg, amp)
    configure.use_resumable_loop(cfg)
    configure.use_complete_checkpoints(cfg)
    configure.add_hooks(cfg, *TRAIN_HOOKS)
    strategies.check(cfg)

    ignore_lock = ignore_lock or not is_first_process(launcher)  # the first holds it for all
    lock.check(cfg.work_dir, ignore_lock)
    notes = _check_training(cfg, overwrite, skip_data_check, skip_preflight)
    notes += configure.set_up_processes(cfg, launcher) + strategies.apply(cfg)
    follow_launcher()
    with explained_lack_of_room(cfg.work_dir), lock.only_run_in(cfg.work_dir, ignore_lock), explained_loss_of_process():
        runner = _build_runner(cfg)
        for hook in runner.hooks:
            if isinstance(hook, RunBannerHook):
                hook.precision = precision
                hook.notes.extend(notes)
        try:
            runner.train()
        finally:
            for hook in runner.hooks:
                if isinstance(hook, StopOnSignalHook):
                    hook.restore()


@contextmanager
def _can_be_skipped() -> Iterator[None]:
    """Have every refusal name an option to go on all the same, where there is one."""
    try:
        yield
    except preflight.AbsentDataError:
        raise
    except (RunError, CheckpointError) as error:
        if '--skip-' in str(error):
            raise
        raise type(error)(f'{plain_message(error)}. Or go on without this check: --skip-preflight') from error


def _check_training(cfg: Config, overwrite: bool, skip_data_check: bool, skip_preflight: bool) -> list[str]:
    """All that can be known before the work dir is touched; returns lines for the banner."""
    notes: list[str] = []
    if not skip_preflight:
        with _can_be_skipped():
            dry_build.check_work_dir(cfg.work_dir)
    goes_on = cfg.get('resume') and (cfg.get('load_from') is None or resuming.is_of_run(cfg.load_from, cfg.work_dir))
    if not goes_on and not overwrite and resuming.has_checkpoints(cfg.work_dir):
        raise RunError(
            f'{cfg.work_dir} holds the checkpoints of {"another" if cfg.get("resume") else "an earlier"} run: add '
            '--resume (without a file) to go on with it, --work-dir DIR to train elsewhere, or --overwrite to write over it'
        )
    checkpoint: dict[str, Any] | None = None
    source = cfg.get('load_from')
    if cfg.get('resume'):
        if source is None:
            path, checkpoint, notes = resuming.newest_complete_checkpoint(cfg.work_dir)
            source = cfg.load_from = str(path)
        else:
            checkpoint = resuming.load_resumable(source)
        _keep_seed(cfg, checkpoint, notes)
        notes += resuming.forgotten(cfg, checkpoint)
    if not is_first_local_process():
        return []  # one process per machine looks at the rest; if it refuses, its launcher ends the others
    if checkpoint is None and source is not None:
        checkpoint = load_from_mmswin(source)
    if skip_preflight:
        return notes
    if checkpoint is None:
        preflight.check_pretrained(cfg)
    with _can_be_skipped():
        model = preflight.build_model(cfg)
        strategies.check_model(cfg, model)
        if checkpoint is not None:
            match = preflight.check_weights(model, checkpoint, source, 'resume' if cfg.get('resume') else 'load')
            notes.append(f'{source}: {match.outcome()}')
        splits = ('train', 'val') if cfg.get('val_dataloader') else ('train',)
        return notes + _check_parts(cfg, model, splits, skip_data_check, checkpoint if cfg.get('resume') else None)


def _check_parts(
    cfg: Config, model: nn.Module, splits: tuple[str, ...], skip_data_check: bool, resumed: dict[str, Any] | None = None
) -> list[str]:
    """The data, the numbers that depend on them, and all that the Runner will build; returns lines for the log."""
    notes = []
    if not skip_data_check:
        notes = preflight.check_data(cfg, splits)
        class_counts.check(cfg, model)
    dry_build.build_parts(cfg, model, splits, data=not skip_data_check, resumed=resumed)
    return notes


def _keep_seed(cfg: Config, checkpoint: dict[str, Any], notes: list[str]) -> None:
    """Go on with the seed of the interrupted run, so that the order of the images goes on too."""
    saved, given = checkpoint['meta'].get('seed'), cfg.randomness.get('seed')
    if given is None:
        cfg.randomness.seed = saved
    elif saved not in (None, given):
        notes.append(
            f'seed {given} given, but the run being resumed had {saved}: mmengine goes on with {saved} for '
            'the model, and the order of the images is that of neither run'
        )


@mmengine_loader.trusting()
def test(
    config: str,
    checkpoint: str,
    work_dir: str | None = None,
    out: str | None = None,
    show_dir: str | None = None,
    cfg_options: Sequence[str] | dict[str, Any] | None = None,
    tta: bool = False,
    launcher: str = 'none',
    overwrite: bool = False,
    trust_checkpoint: bool = False,
    amp: str | None = None,
    skip_data_check: bool = False,
    skip_preflight: bool = False,
) -> dict[str, float]:
    """Test a checkpoint with a config of mmdet or mmseg; the arguments are the options of ``mmswin test``.

    Returns:
        The metrics.

    Raises:
        RunError: Something that the user can fix; nothing has been written then.
        CheckpointError: A checkpoint that cannot be used; nothing has been written then.
    """
    cfg = configure.load_config(config, cfg_options, work_dir)
    configure.check_sections(cfg, 'test')
    testing.check_outputs(out, show_dir, overwrite)
    if show_dir:
        testing.show_into(cfg, show_dir)
    dtype = autocast_type(amp) if amp else None
    cfg.load_from, cfg.resume = checkpoint, False
    if trust_checkpoint:
        mmengine_loader.trust(checkpoint)
    notes = [] if skip_preflight else _check_test(cfg, skip_data_check)
    if tta:
        testing.enable_tta(cfg)
    notes += configure.set_up_processes(cfg, launcher)
    runner = _build_runner(cfg)
    if dtype is not None:
        notes.append(testing.predict_in(runner, dtype))
    for note in notes:
        runner.logger.info(printable(note, 4000))
    if tta:
        runner.logger.info(testing.tta_note(cfg, len(runner.test_dataloader.dataset)))
    if out:
        testing.dump_predictions(runner, cfg.get('default_scope'), out)
    metrics = runner.test()
    for name, place in (('predictions', out), ('pictures', show_dir)):
        if place:
            runner.logger.info(f'{name} are in {place}')
    return metrics


def _check_test(cfg: Config, skip_data_check: bool) -> list[str]:
    if not is_first_local_process():
        return []
    loaded = load_from_mmswin(cfg.load_from)
    with _can_be_skipped():
        dry_build.check_work_dir(cfg.work_dir)
        model = preflight.build_model(cfg)
        match = preflight.check_weights(model, loaded, cfg.load_from, 'test')
        return [f'{cfg.load_from}: {match.outcome()}', *_check_parts(cfg, model, ('test',), skip_data_check)]


def _build_runner(cfg: Config) -> Runner:
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
