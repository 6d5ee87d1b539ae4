"""From a config file and a command line to the config that the Runner gets."""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import MMLogger
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

from mmswin import shipped
from mmswin.checkpoints.downloads import is_offline
from mmswin.data.config_facts import default_arguments, dicts_in, leaf_datasets, registered_class, short_name
from mmswin.engine.options import merge_options
from mmswin.engine.precision import has_accelerator
from mmswin.engine.types import resolve_type
from mmswin.environment.importable import make_mmpretrain_importable, mmpretrain_folder
from mmswin.errors import RunError, nearest

SYNC_NORMS = ('SyncBN', 'MMSyncBN', 'NaiveSyncBN')


def load_config(
    path: str, cfg_options: dict[str, Any] | Sequence[str] | None, work_dir: str | None, mmpretrain: bool = True
) -> Config:
    """Read a config file, or one that comes with mmswin by its name, apply ``--cfg-options`` and settle the work dir.

    That is the one given, else the config's, else ``./work_dirs/NAME_OF_THE_CONFIG_FILE``.

    ``mmpretrain=False`` does not look for that library, and lets a config of it be read where it is not installed.

    Raises:
        RunError: The file is missing, is no config, or an option is wrong.
    """
    path = shipped.resolve(path)
    if not Path(path).is_file():
        raise RunError(f'config {path} does not exist{nearest(Path(path).stem, shipped.names())}')
    text = Path(path).read_text(encoding='utf-8', errors='replace')
    if mmpretrain and ('mmpretrain::' in text or 'mmpretrain.configs' in text):
        find_mmpretrain(path)
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # a configuration is code
        raise RunError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error
    if mmpretrain and cfg.get('default_scope') == 'mmpretrain':
        find_mmpretrain(path)
    drop_scope(cfg)
    merge_options(cfg, cfg_options)
    stay_offline(cfg)
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('./work_dirs') / Path(path).stem)
    fit_loaders(cfg)
    return cfg


def check_sections(cfg: Config, purpose: str) -> None:
    """Refuse a config without a part that ``purpose`` ('train' or 'test') needs, or with half of what another needs.

    Raises:
        RunError: It is one.
    """
    last = {'train': 'optim_wrapper', 'val': 'val_evaluator', 'test': 'test_evaluator'}
    for split in sorted(last, key=lambda split: split != purpose):
        names = ['model'] * (split == purpose) + [f'{split}_dataloader', f'{split}_cfg', last[split]]
        lacking = [name for name in names if cfg.get(name) is None]
        if lacking and (split == purpose or len(lacking) < len(names)):
            others = f'but {", ".join(name for name in names if name not in lacking)}: set all, or all to None'
            needed = f'which mmswin {purpose} needs: is it a part that other configs inherit from?'
            if 'test_dataloader' in lacking and cfg.get('model') and cfg.get('train_dataloader'):
                needed = (
                    'so there is nothing to test; what SimMIM has learned is shown by mmswin browse --checkpoint FILE'
                )
            raise RunError(
                f'config {cfg.filename} has no {", ".join(lacking)}, {needed if split == purpose else others}'
            )


def find_mmpretrain(path: str) -> None:
    """Make mmpretrain importable for a config of it, which lies at ``path``.

    Raises:
        RunError: It is not installed.
    """
    if not make_mmpretrain_importable():
        raise RunError(
            f'config {path} is for mmpretrain, which is neither installed nor in {mmpretrain_folder()}: make pretrain in '
            'a checkout puts it there, apart from the rest (docs/classify.md says how to do it without)'
        )


def stay_offline(cfg: Config) -> None:
    """Under ``MMSWIN_OFFLINE``, have data sets that would fetch what is missing (``download=True``) not do so."""
    offline = is_offline() and cfg.get('default_scope') == 'mmpretrain'
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader') if offline else ():
        for _, dataset in leaf_datasets((cfg.get(name) or {}).get('dataset'), name):
            kind, _ = registered_class(dataset, cfg.get('default_scope'))
            if kind is not None and default_arguments(kind).get('download'):
                dataset['download'] = False


def drop_scope(cfg: Config) -> None:
    """Remove the scope ``mmswin`` that mmengine gives to all that comes from ``_base_ = 'mmswin::...'``.

    Types in such a file are looked up where the config's ``default_scope`` says, as in any other file.
    """
    for node in dicts_in(cfg._cfg_dict):
        if node.get('_scope_') == 'mmswin':
            del node['_scope_']


def set_randomness(cfg: Config, seed: int | None, deterministic: bool) -> None:
    """Put ``--seed`` and ``--deterministic`` into the config and the environment."""
    cfg.randomness = ConfigDict({'seed': None, **(cfg.get('randomness') or {})})
    if seed is not None:
        cfg.randomness.seed = seed
    if deterministic:
        cfg.randomness.deterministic = True
        # cuBLAS reads this when it starts; without it torch refuses matrix products in deterministic mode.
        os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')


def enable_lr_scaling(cfg: Config) -> None:
    """Turn ``auto_scale_lr`` on.

    Raises:
        RunError: The config does not say for how many images its learning rate is.
    """
    scaling = cfg.get('auto_scale_lr')
    if not scaling or 'base_batch_size' not in scaling:
        raise RunError(
            '--auto-scale-lr: the config has no auto_scale_lr.base_batch_size, so it is not known for how '
            'many images per iteration its learning rate is; add --cfg-options '
            '+auto_scale_lr.base_batch_size=16 (or what it is)'
        )
    scaling.enable = True


def set_up_processes(cfg: Config, launcher: str) -> list[str]:
    """Prepare the config, and on a CPU the process group, for one process or several.

    mmengine starts several processes on GPUs only. Without one this starts gloo itself, and changes what torch cannot
    do on CPUs: synchronised batch norm and a device id for DistributedDataParallel.

    Returns:
        Lines for the banner.

    Raises:
        RunError: Several processes without GPU from another launcher than torchrun, or that are not to be joined.
    """
    number = os.environ.get('WORLD_SIZE', '1')
    if launcher == 'none' and 'TORCHELASTIC_RUN_ID' in os.environ and number != '1':
        raise RunError(f'torchrun started {number} processes, and each would run alone: add --launcher pytorch')
    cfg.launcher = launcher
    if launcher == 'none' or has_accelerator():
        return []
    if launcher != 'pytorch':
        raise RunError(
            f'--launcher {launcher} found no GPU; several processes on CPUs run through torchrun '
            '(--launcher pytorch; tools/dist_train.sh in a checkout)'
        )
    if not torch.distributed.is_initialized():
        if 'RANK' not in os.environ:
            raise RunError(
                '--launcher pytorch is for processes that torchrun started: torchrun --nproc-per-node NUMBER -m '
                'mmswin train CONFIG --launcher pytorch, or tools/dist_train.sh CONFIG NUMBER in a checkout'
            )
        torch.distributed.init_process_group('gloo')
    notes = ['no GPU: the processes talk through gloo on the CPU']
    unused = cfg.get('find_unused_parameters', False)
    usual = dict(type='MMDistributedDataParallel', broadcast_buffers=False, find_unused_parameters=unused)
    cfg.model_wrapper_cfg = ConfigDict({**(cfg.get('model_wrapper_cfg') or usual), 'device_ids': None})
    if replace_sync_norm(cfg):
        notes.append('SyncBN became BN: torch synchronises batch norm on GPUs only')
    return notes


def replace_sync_norm(cfg: Config) -> int:
    """Replace synchronised batch norm in ``cfg.model`` by plain; returns the number of places."""
    count = 0
    for node in dicts_in(cfg.model):
        if short_name(node.get('type')) in SYNC_NORMS:
            node['type'] = 'BN'
            count += 1
    if cfg.get('sync_bn'):
        cfg.sync_bn = None
        count += 1
    return count


@contextmanager
def quiet() -> Iterator[None]:
    """Log errors alone: the Runner will say the rest again where it belongs, into the log file of the run."""
    previous = logging.root.manager.disable
    _disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        _disable(previous)


def _disable(level: int) -> None:
    logging.disable(level)
    # mmengine's loggers keep what they may pass, and the line above does not reach them.
    current = MMLogger.get_current_instance()
    current.setLevel(current.level)


def add_hooks(cfg: Config, *hook_types: str) -> None:
    """Add the named hooks to ``custom_hooks`` unless the config has them.

    Raises:
        RunError: Something in ``custom_hooks`` is no hook.
    """
    given = cfg.get('custom_hooks') or []
    several = isinstance(given, (list, tuple))
    wrong = [hook for hook in given if not isinstance(hook, (dict, Hook))] if several else [given]
    if wrong:
        raise RunError(
            f'custom_hooks holds {wrong[0]!r} and must be a list of dicts with a type each: '
            "write custom_hooks = [dict(type='EMAHook')] or its like into the config"
        )
    scope = cfg.get('default_scope')
    present = {kind for hook in given if isinstance(hook, dict) for kind in resolve_type(hook.get('type'), scope)}
    present |= {type(hook) for hook in given}
    missing = [name for name in hook_types if present.isdisjoint(resolve_type(name, scope))]
    cfg.custom_hooks = [*given, *(ConfigDict(type=name) for name in missing)]


def fit_loaders(cfg: Config) -> None:
    """Remove what is of workers where a loader has none: torch refuses it, and nothing depends on it."""
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        for key in ('persistent_workers', 'prefetch_factor'):
            if isinstance(loader, dict) and not loader.get('num_workers'):
                loader.pop(key, None)


def use_resumable_loop(cfg: Config) -> None:
    """Replace mmengine's two training loops by those of :mod:`mmswin.engine.loops`; others stay."""
    loop, scope = cfg.train_cfg, cfg.get('default_scope')
    kind = loop.get('type') or ('EpochBasedTrainLoop' if loop.get('by_epoch', True) else 'IterBasedTrainLoop')
    for ours, theirs in (('EpochBasedTrainLoop', EpochBasedTrainLoop), ('IterBasedTrainLoop', IterBasedTrainLoop)):
        if theirs in resolve_type(kind, scope):
            loop.pop('by_epoch', None)
            loop.type = f'mmswin.{ours}'


def use_complete_checkpoints(cfg: Config) -> None:
    """Replace mmengine's checkpoint hook by :class:`mmswin.engine.CheckpointHook`; another one stays."""
    hooks = dict(cfg.get('default_hooks') or {})
    hook = hooks.get('checkpoint', {'type': 'CheckpointHook', 'interval': 1})  # as the Runner adds it
    if isinstance(hook, dict) and CheckpointHook in resolve_type(hook.get('type'), cfg.get('default_scope')):
        hooks['checkpoint'] = ConfigDict({**hook, 'type': 'mmswin.CheckpointHook'})
        cfg.default_hooks = ConfigDict(hooks)
