"""What was carried over unchanged may be unknown to the new libraries: every type and argument is looked up."""

from collections.abc import Iterator
from typing import Any

import mmcv.ops
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope

from mmswin.data.config_facts import walk
from mmswin.engine.configure import quiet
from mmswin.engine.options import is_read
from mmswin.engine.preflight import build_model
from mmswin.engine.types import resolve_type
from mmswin.errors import RunError, plain_message
from mmswin.upgrade.findings import Report

# Dicts whose `type` is no class of a registry, or whose entries are not all arguments of it.
_OPERATORS = {'nms', 'roi_layer'}
_FREE = _OPERATORS | {
    'norm_cfg', 'act_cfg', 'conv_cfg', 'dcn', 'upsample_cfg', 'init_cfg', 'bbox_params', 'plugins',
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
    cfg = Config(settings)
    before = len(report.untranslated)
    for path, node in _typed({name: settings.get(name) for name in _CHECKED}):
        _check_node(cfg, path, node, report)
    constructor = settings['optim_wrapper'].get('constructor')
    with OPTIM_WRAPPER_CONSTRUCTORS.switch_scope_and_registry(scope) as registry:
        if registry.get(constructor) is None:
            why = 'there is none of this name; mmswin.LayerDecayOptimWrapperConstructor has layer-wise decay for Swin'
            report.failed('optim_wrapper.constructor', constructor, why)
    if len(report.untranslated) == before:
        _build(settings, scope, report)


def _typed(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    own: tuple[str, ...] = ()
    for path, node in walk(settings):
        *around, name = path.split('.')
        if not isinstance(node, dict) or 'type' not in node or _FREE.intersection(around) or path.startswith(own):
            continue
        if node['type'] == 'Albu':  # its transforms are of that library
            own += (f'{path}.transforms.',)
        if name not in _FREE - _OPERATORS:
            yield path, node


def _check_node(cfg: Config, path: str, node: dict[str, Any], report: Report) -> None:
    name = node['type']
    if path.rpartition('.')[2] in _OPERATORS:
        if isinstance(name, str) and not hasattr(mmcv.ops, name) and name != 'soft_nms':
            report.failed(f'{path}.type', name, 'no operator of mmcv; choose one of mmcv.ops')
        return
    library = {'mmdet': 'mmdet 3.x', 'mmseg': 'mmseg 1.x'}[cfg.default_scope]
    if not resolve_type(name, cfg.default_scope):
        why = f'{library} has no class of this name; register one under that name, or choose another (left as it was)'
        report.failed(f'{path}.type', name, why)
        return
    for key, value in node.items():
        if not is_read(cfg, path, key):
            why = f'{name} of {library} has no argument of this name; see the arguments of {name} (left as it was)'
            report.failed(f'{path}.{key}', value, why)


def _build(settings: dict[str, Any], scope: str, report: Report) -> None:
    """The model and the pipelines, as a run would build them."""
    cfg = Config({'default_scope': scope, 'model': settings['model']})
    try:
        try:
            with torch.device('meta'):  # without memory or time for weights
                build_model(cfg)
        except Exception:  # some classes compute while they are built
            build_model(cfg)
    except Exception as error:  # Classes of others, called with what they were not written for.
        report.failed('model', settings['model'].get('type'), _does_not_build(error))
    for path, steps in walk(settings):
        if not path.endswith('.pipeline') or not isinstance(steps, list) or path.startswith('model.'):
            continue
        try:
            with quiet(), DefaultScope.overwrite_default_scope(scope):
                Compose(steps)
        except Exception as error:
            report.failed(path, [step.get('type') for step in steps], _does_not_build(error))


def _does_not_build(error: Exception) -> str:
    first = (plain_message(error).splitlines() or [''])[0]
    return f'it does not build: {"" if isinstance(error, RunError) else f"{type(error).__name__}: "}{first}; fix it in the new file'
