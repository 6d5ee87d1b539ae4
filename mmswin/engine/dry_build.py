"""Everything that the Runner will build is built once before anything is written, so that what fails, fails in one line.

A library that is missing, an argument that a class refuses, a work dir that cannot be written: mmengine finds them one
by one, each with a traceback, after it has made the work dir.
"""

import ast
import copy
import inspect
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from mmengine import registry
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from torch import nn

from mmswin.data.config_facts import can_be_lazy, leaf_datasets, registered_class, short_name
from mmswin.engine import strategies
from mmswin.engine.configure import quiet
from mmswin.engine.types import resolve_type
from mmswin.errors import RunError, plain_message

_NAME = 'mmswin-dry-build'


def check_work_dir(work_dir: str | os.PathLike, option: str = '--work-dir') -> None:
    """Refuse a directory, of the name of an option, that cannot be made or written.

    Raises:
        RunError: It is a file, or lies in one, or in a directory without the right to write.
    """
    place = Path(work_dir).absolute()
    while not os.path.lexists(place) and place != place.parent:  # a drive that is not there
        place = place.parent
    if not place.is_dir():
        raise RunError(f'{option} {work_dir}: {place} is no directory; name another place with {option}')
    if not os.access(place, os.W_OK | os.X_OK):
        raise RunError(f'{option} {work_dir}: {place} cannot be written; name another place with {option}')


def build_parts(
    cfg: Config, model: nn.Module, splits: tuple[str, ...], data: bool = True, resumed: Mapping[str, Any] | None = None
) -> None:
    """Build what the Runner will build of a config, and throw it away.

    Args:
        cfg: The config as the Runner gets it.
        model: Its built model.
        splits: Which of ``'train'``, ``'val'`` and ``'test'`` will run.
        data: Also data sets (without their annotations) and metrics.
        resumed: The checkpoint that the run goes on from.

    Raises:
        RunError: A part cannot be built, in the library's own words; or the optimizer is not that of ``resumed``.
    """
    scope = cfg.get('default_scope') or 'mmengine'
    try:
        with quiet(), DefaultScope.overwrite_default_scope(scope):
            for path, build in _parts(cfg, model, splits, data):
                try:
                    built = build()
                except Exception as error:  # whatever it is, it would end the run
                    kind = '' if isinstance(error, RunError) else f'{type(error).__name__}: '
                    raise RunError(f'{path} cannot be built: {kind}{plain_message(error)}') from error
                if resumed is not None and path == 'optim_wrapper' and not isinstance(built, OptimWrapperDict):
                    _check_state(built, resumed.get('optimizer'))
    finally:
        for kind in {Visualizer, *resolve_type((cfg.get('visualizer') or {}).get('type'), scope)}:
            getattr(kind, '_instance_dict', {}).pop(_NAME, None)  # else it would be the current one


def _parts(
    cfg: Config, model: nn.Module, splits: tuple[str, ...], data: bool
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Config path and building of each part, in the order of the Runner, which some rely on."""
    visualizer = dict(cfg.get('visualizer') or {'type': 'Visualizer'})
    for index, backend in enumerate(visualizer.pop('vis_backends', None) or ()):
        yield f'visualizer.vis_backends.{index}', partial(_check_backend, cfg, backend)
    yield 'visualizer', partial(registry.VISUALIZERS.build, {**visualizer, 'name': _NAME})
    if cfg.get('log_processor'):
        yield 'log_processor', partial(registry.LOG_PROCESSORS.build, {'type': 'LogProcessor', **cfg.log_processor})
    hooks = {f'default_hooks.{name}': hook for name, hook in (cfg.get('default_hooks') or {}).items()}
    hooks |= {f'custom_hooks.{index}': hook for index, hook in enumerate(cfg.get('custom_hooks') or ())}
    for path, hook in hooks.items():
        if isinstance(hook, dict):
            node = {key: value for key, value in hook.items() if key != 'priority'}
            yield path, partial(registry.HOOKS.build, copy.deepcopy(node))
    if 'train' in splits and strategies.strategy_of(cfg).kind == 'ddp':
        yield from _optimization(cfg, model)
    for split in splits if data else ():
        place = f'{split}_dataloader.dataset'
        for path, node in leaf_datasets((cfg.get(f'{split}_dataloader') or {}).get('dataset'), place):
            kind, _ = registered_class(node, cfg.get('default_scope'))
            if can_be_lazy(kind):
                yield path, partial(registry.DATASETS.build, {**copy.deepcopy(node), 'lazy_init': True})
        evaluator = copy.deepcopy(cfg.get(f'{split}_evaluator'))
        if split != 'train' and evaluator:
            complete = isinstance(evaluator, dict) and 'metrics' in evaluator
            yield f'{split}_evaluator', partial(registry.EVALUATOR.build if complete else Evaluator, evaluator)


def _optimization(cfg: Config, model: nn.Module) -> Iterator[tuple[str, Callable[[], Any]]]:
    if not (cfg.optim_wrapper.get('optimizer') or {}).get('type'):
        return  # several optimizers, whose constructor is the user's
    wrapper = copy.deepcopy(cfg.optim_wrapper)
    if short_name(wrapper.optimizer.type) == strategies.ZERO:  # which needs a group of processes
        wrapper.optimizer.type = wrapper.optimizer.pop('optimizer_type')
    build_wrapper = cache(partial(build_optim_wrapper, model, wrapper))
    yield 'optim_wrapper', build_wrapper
    schedulers = cfg.get('param_scheduler') or ()
    # The length of an epoch is not known yet, and decides nothing here.
    arguments = {'optimizer': build_wrapper(), 'epoch_length': 1000}
    for index, node in enumerate([schedulers] if isinstance(schedulers, dict) else schedulers):
        build = partial(registry.PARAM_SCHEDULERS.build, copy.deepcopy(node), default_args=arguments)
        yield f'param_scheduler.{index}', build


def _check_state(wrapper: OptimWrapper, state: Any) -> None:
    """Refuse an optimizer that the state of a checkpoint is not for, as torch would after the run has begun."""
    groups = state.get('param_groups') if isinstance(state, Mapping) else None
    try:
        saved = [len(group['params']) for group in groups or ()]
    except (TypeError, KeyError):
        saved = []
    here = [len(group['params']) for group in wrapper.optimizer.param_groups]  # the wrapper adds one of its own
    if saved != here:
        raise RunError(
            f'the optimizer of the checkpoint has {sum(saved)} parameters in {len(saved)} groups, and this config makes '
            f'{sum(here)} in {len(here)}: optim_wrapper or the frozen layers are not those of the run that is resumed. '
            'Restore them, or start from its weights with --load-from'
        )


def _check_backend(cfg: Config, node: dict) -> None:
    """Build a visualizer's backend, and import what it will need when the first line is logged."""
    registry.VISBACKENDS.build({'save_dir': cfg.work_dir, **node})
    for kind in resolve_type(node.get('type'), cfg.get('default_scope')):
        attempts = _import_faults(getattr(kind, '_init_env', None))
        if attempts and all(attempts):
            raise RunError(f'{attempts[-1]}: install it, or take {node["type"]!r} out of visualizer.vis_backends')


def _import_faults(function: Any) -> list[str]:
    """For each ``try`` in which a function imports something, what that fails with; '' if it does not."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (TypeError, OSError, SyntaxError):
        return []
    faults = []
    for attempt in (node for node in ast.walk(tree) if isinstance(node, ast.Try)):
        imports: list[ast.stmt] = [node for node in attempt.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        try:
            exec(compile(ast.Module(imports, []), inspect.getfile(function), 'exec'), {})
            faults += [''] * bool(imports)
        except ImportError as error:
            faults.append(f'{error.name} cannot be imported ({error})')
    return faults
