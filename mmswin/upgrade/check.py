"""What was carried over unchanged may be unknown to the new libraries: every type and argument is looked up."""

import inspect
import logging
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import mmcv.ops
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.hooks import Hook
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
from mmengine.runner import Runner

from mmswin.engine.preflight import build_model
from mmswin.engine.types import accepts, resolve_type
from mmswin.errors import RunError, plain_message
from mmswin.upgrade.report import Report

# Dicts whose `type` is no class of a registry, or whose entries are not all arguments of it.
_FREE = {
    'norm_cfg',
    'act_cfg',
    'conv_cfg',
    'dcn',
    'upsample_cfg',
    'init_cfg',
    'nms',
    'roi_layer',
    'bbox_params',
    'plugins',
}
_OPERATORS = ('nms', 'roi_layer')
# All that the registries know by a name; they are many and slow.
_resolve = cache(resolve_type)
# Read by builders, next to the arguments of a class.
_BUILDERS = {
    'train_cfg', 'test_cfg', 'type', '_delete_', '_scope_', 'constructor', 'paramwise_cfg', 'optimizer', 'requires_grad',
}  # fmt: skip
_CHECKED = (
    'model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator', 'custom_hooks',
    'default_hooks', 'optim_wrapper', 'tta_pipeline',
)  # fmt: skip


def check_settings(settings: dict[str, Any], report: Report) -> None:
    """Name every type that the installed libraries lack, every argument that nothing reads, and what fails to build.

    Args:
        settings: The new configuration.
        report: Where findings go.
    """
    scope = settings['default_scope']
    before = len(report.untranslated)
    for name in _CHECKED:
        for path, node in _typed(settings.get(name), name):
            _check_node(scope, path, node, report)
    constructor = settings['optim_wrapper'].get('constructor')
    with OPTIM_WRAPPER_CONSTRUCTORS.switch_scope_and_registry(scope) as registry:
        if registry.get(constructor) is None:
            why = 'there is none of this name; mmswin.LayerDecayOptimWrapperConstructor has layer-wise decay for Swin'
            report.failed('optim_wrapper.constructor', constructor, why)
    if len(report.untranslated) == before:
        _build(settings, scope, report)


def _typed(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if 'type' in node:
            yield path, node
        for key, value in node.items():
            if key in _OPERATORS and isinstance(value, dict):
                yield f'{path}.{key}', value
            elif key not in _FREE and not (node.get('type') == 'Albu' and key == 'transforms'):
                yield from _typed(value, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _typed(value, f'{path}.{index}')


def _check_node(scope: str, path: str, node: dict[str, Any], report: Report) -> None:
    name = node.get('type')
    if path.rpartition('.')[2] in _OPERATORS:
        if isinstance(name, str) and not hasattr(mmcv.ops, name) and name != 'soft_nms':
            report.failed(f'{path}.type', name, 'no operator of mmcv; choose one of mmcv.ops')
        return
    library = {'mmdet': 'mmdet 3.x', 'mmseg': 'mmseg 1.x'}[scope]
    readers = _readers(node, scope)
    if not readers:
        why = f'{library} has no class of this name; register one under that name, or choose another (left as it was)'
        report.failed(f'{path}.type', name, why)
        return
    for key, value in node.items():
        if key not in _BUILDERS and not any(accepts(reader, key) for reader in readers):
            why = f'{name} of {library} has no argument of this name; see the arguments of {name} (left as it was)'
            report.failed(f'{path}.{key}', value, why)


def _readers(node: dict[str, Any], scope: str) -> list[Callable]:
    """What reads the entries of a dict: the class that it names, and what that passes arguments on to.

    A class that takes ``**kwargs`` and the name of a type (RandomResize's ``resize_type``, EMAHook's ``ema_type``) builds
    that type with them; a hook's ``priority`` is the Runner's.
    """
    found = [*_resolve(node['type'], scope)]
    for target in tuple(found):
        parameters = inspect.signature(target).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            types = [node.get(name, one.default) for name, one in parameters.items() if name.endswith('_type')]
            found += [reader for kind in types if isinstance(kind, str) for reader in _resolve(kind, scope)]
        if inspect.isclass(target) and issubclass(target, Hook):
            found.append(Runner.register_hook)
    return found


def _build(settings: dict[str, Any], scope: str, report: Report) -> None:
    """The model and the pipelines, as a run would build them."""
    try:
        _build_model(Config({'default_scope': scope, 'model': settings['model']}))
    except Exception as error:  # Classes of others, called with what they were not written for.
        report.failed('model', settings['model'].get('type'), _does_not_build(error))
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        for path, steps in _pipelines(settings):
            try:
                with DefaultScope.overwrite_default_scope(scope):
                    Compose(steps)
            except Exception as error:
                report.failed(path, [step.get('type') for step in steps], _does_not_build(error))
    finally:
        logging.disable(previous)


def _build_model(cfg: Config) -> None:
    try:
        with torch.device('meta'):  # without memory or time for weights
            build_model(cfg)
    except Exception:  # some classes compute while they are built
        build_model(cfg)


def _does_not_build(error: Exception) -> str:
    first = (plain_message(error).splitlines() or [''])[0]
    return f'it does not build: {"" if isinstance(error, RunError) else f"{type(error).__name__}: "}{first}; fix it in the new file'


def _pipelines(node: Any, path: str = '') -> Iterator[tuple[str, list[dict[str, Any]]]]:
    if isinstance(node, dict):
        for key, value in node.items():
            inner = f'{path}.{key}' if path else str(key)
            if key == 'pipeline' and isinstance(value, list):
                yield inner, value
            elif not path.startswith('model'):
                yield from _pipelines(value, inner)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _pipelines(value, f'{path}.{index}')
