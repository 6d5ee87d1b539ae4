"""``--cfg-options``: a key that nothing reads is refused, with the keys it may have meant.

The rule. A key that exists in the config may be changed. A new key may be added

* to a dict with a ``type``, when the arguments of that class have the name;
* to a section of the config that the Runner passes to a known function (``train_dataloader``, ``env_cfg``, ...),
  when that function has the name; and at the top, when the Runner has it;
* anywhere, when the key is written with a plus sign: ``+model.test_cfg.rcnn.extra=1``.

A top-level variable that only helps to write the config file (``data_root``, ``backend_args``, ...) was read while the
file was parsed; changing it afterwards changes nothing, so it is refused too and the places it went to are named.
"""

import difflib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    EVALUATOR,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    TASK_UTILS,
    TRANSFORMS,
    VISBACKENDS,
    VISUALIZERS,
)
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from torch.utils.data import DataLoader

from mmswin.errors import RunError

# What a `type` in a config may name.
_REGISTRIES = (
    MODELS,
    DATASETS,
    TRANSFORMS,
    TASK_UTILS,
    OPTIMIZERS,
    OPTIM_WRAPPERS,
    PARAM_SCHEDULERS,
    HOOKS,
    LOOPS,
    METRICS,
    EVALUATOR,
    DATA_SAMPLERS,
    VISUALIZERS,
    VISBACKENDS,
)

# Read from `runner.cfg` or by the tools, beside the arguments of the Runner itself.
_TOP_LEVEL = frozenset({
    'sync_bn', 'find_unused_parameters', 'model_wrapper_cfg', 'activation_checkpointing', 'efficient_conv_bn_eval',
    'compile', 'runner_type', 'tta_model', 'tta_pipeline', 'custom_imports', 'auto_scale_lr', 'work_dir',
    'strategy',
})  # fmt: skip

_BUILDERS_OWN = frozenset({'type', '_scope_', '_delete_'})
_LOADER_EXTRAS = frozenset({'dataset', 'sampler', 'batch_sampler', 'num_batch_per_epoch', 'collate_fn',
                            'worker_init_fn', 'disable_subprocess_warning'})  # fmt: skip
_OPTIM_EXTRAS = frozenset({'constructor', 'paramwise_cfg', 'optimizer'})
_SCHEDULER_EXTRAS = frozenset({'convert_to_iter_based'})

# Sections without a `type` of their own: what reads them. None: names are free.
_SECTIONS: dict[str, tuple[Callable | None, ...]] = {
    'train_dataloader': (DataLoader,),
    'val_dataloader': (DataLoader,),
    'test_dataloader': (DataLoader,),
    'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop),
    'val_cfg': (ValLoop,),
    'test_cfg': (TestLoop,),
    'optim_wrapper': (OptimWrapper,),
    'log_processor': (LogProcessor,),
    'randomness': (Runner.set_randomness,),
    'default_hooks': (None,),
}
_SECTION_KEYS: dict[str, frozenset[str]] = {
    'env_cfg': frozenset({'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'}),
    'env_cfg.mp_cfg': frozenset({'mp_start_method', 'opencv_num_threads'}),
    'env_cfg.dist_cfg': frozenset({'backend', 'timeout', 'init_backend', 'port'}),
    'auto_scale_lr': frozenset({'enable', 'base_batch_size'}),
    'strategy': frozenset({'type', 'wrap'}),
    'train_cfg': frozenset({'by_epoch'}),
    'optim_wrapper.paramwise_cfg': frozenset({
        'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult', 'dwconv_decay_mult',
        'dcn_offset_lr_mult', 'bypass_duplicate',
    }),
}  # fmt: skip
# The keys of these dicts are names of the user's own.
_FREE_DICTS = frozenset({'custom_keys', 'metainfo', 'data_prefix', 'filter_cfg'})


def check_options(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Check ``--cfg-options`` against a config.

    Args:
        cfg: The config as its file gives it.
        options: Dotted key to value, as mmengine's ``DictAction`` parses the command line; a leading ``+`` in a key
            lets it be new.

    Returns:
        The options without plus signs, ready for ``Config.merge_from_dict``.

    Raises:
        RunError: A key that nothing would read, an index outside a list, or a value where a dict is needed.
    """
    checked = {}
    for written, value in options.items():
        key = written.removeprefix('+')
        if not written.startswith('+'):
            _check_key(cfg, key)
        checked[key] = value
    return checked


def merge_options(cfg: Config, options: dict[str, Any] | None) -> None:
    """Check ``--cfg-options`` and merge them into ``cfg`` (see :func:`check_options`)."""
    if options:
        cfg.merge_from_dict(check_options(cfg, options))


def _check_key(cfg: Config, key: str) -> None:
    parts = key.split('.')
    node: Any = cfg._cfg_dict
    for depth, part in enumerate(parts):
        path = '.'.join(parts[:depth])
        if isinstance(node, (list, tuple)):
            _check_index(key, path, node, part, last=depth == len(parts) - 1)
            node = node[int(part)]
        elif isinstance(node, dict) and part in node:
            if depth == 0:
                _refuse_helper_variable(cfg, key, part)
            node = node[part]
        elif isinstance(node, dict):
            if not _may_be_new(cfg, path, node, part):
                raise RunError(_unknown(cfg, key, path, part))
            return
        elif node is None:
            return  # a dict given in place of None; the class that reads it will judge it
        else:
            raise RunError(
                f'--cfg-options {key}: {path} is {node!r}, which has no entries of its own; give {path}=VALUE'
            )


def _check_index(key: str, path: str, node: list | tuple, part: str, last: bool) -> None:
    if not part.isdigit():
        raise RunError(
            f'--cfg-options {key}: {path} is a list of {len(node)}; write {path}.N.NAME with N from 0 to '
            f'{len(node) - 1}, not {part!r}'
        )
    if int(part) >= len(node):
        raise RunError(f'--cfg-options {key}: {path} has {len(node)} entries (0 to {len(node) - 1}), not {part}')
    if last or not isinstance(node[int(part)], (dict, list)):
        raise RunError(
            f'--cfg-options {key}: one value inside the list {path} cannot be set alone; give the whole '
            f'list, {path}="{list(node) if _plain(node) else "[...]"}"'
        )


def _plain(values: list | tuple) -> bool:
    return all(isinstance(value, (int, float, str, bool)) for value in values)


def _refuse_helper_variable(cfg: Config, key: str, name: str) -> None:
    if name in _top_level_names():
        return
    value = cfg[name]
    uses = [path for path, other in _leaves(cfg._cfg_dict) if path.split('.')[-1] == name and path != name]
    uses += [
        path
        for path, other in _leaves(cfg._cfg_dict)
        if isinstance(value, str) and other == value and path != name and path not in uses
    ]
    where = f'; it went to {", ".join(uses[:6])}: change those' if uses else ''
    raise RunError(
        f'--cfg-options {key}: {name} is a helper variable of the config file and was already read, so '
        f'changing it now changes nothing{where} (or write +{key} to set it all the same)'
    )


def _top_level_names() -> frozenset[str]:
    return _TOP_LEVEL | (frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'})


def _may_be_new(cfg: Config, path: str, node: dict, name: str) -> bool:
    """Whether something reads ``name`` from the dict at ``path``, which does not have it yet."""
    if name in _BUILDERS_OWN or path.split('.')[-1] in _FREE_DICTS:
        return True
    if not path:
        return name in _top_level_names()
    if name in _SECTION_KEYS.get(path, ()):
        return True
    readers: list[Callable | None] = list(_SECTIONS.get(path, ()))
    if path.endswith('_dataloader') and name in _LOADER_EXTRAS:
        return True
    if path == 'optim_wrapper' and name in _OPTIM_EXTRAS:
        return True
    if path.startswith('param_scheduler') and name in _SCHEDULER_EXTRAS:
        return True
    if 'type' in node:
        readers += resolve_type(node['type'], cfg.get('default_scope'))
        if path == 'optim_wrapper' and 'constructor' in node:
            readers.append(DefaultOptimWrapperConstructor)
    return any(reader is None or accepts(reader, name) for reader in readers)


def resolve_type(type_name: Any, scope: str | None) -> list[Callable]:
    """All classes and functions that the registries know by ``type_name`` as seen from ``scope``."""
    if callable(type_name):
        return [type_name]
    found = []
    for registry in _REGISTRIES:
        with registry.switch_scope_and_registry(scope) as local:
            entry = local.get(type_name)
        if callable(entry) and entry not in found:
            found.append(entry)
    return found


def accepts(target: Callable, name: str) -> bool:
    """Whether calling ``target`` with the keyword ``name`` can be right.

    ``**kwargs`` of a class are followed to its base classes; where they end in a base without a signature of its own
    the keyword would be refused there, so it is refused here.
    """
    if not inspect.isclass(target):
        parameters = inspect.signature(target).parameters.values()
        return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)
    for base in inspect.getmro(target)[:-1]:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        if any(p.name == name for p in parameters):
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return False
    return False


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, (list, tuple)) and node and isinstance(node[0], dict):
        for index, value in enumerate(node):
            yield from _leaves(value, f'{path}.{index}')
    else:
        yield path, node


def _paths(node: Any, path: str = '') -> Iterator[str]:
    """Every dotted key, those of dicts included."""
    if path:
        yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _paths(value, f'{path}.{key}' if path else str(key))
    elif isinstance(node, (list, tuple)) and node and isinstance(node[0], dict):
        for index, value in enumerate(node):
            yield from _paths(value, f'{path}.{index}')


def _arguments(cfg: Config, path: str) -> list[str]:
    """Arguments of the class that is built from the dict at ``path``."""
    node: Any = cfg._cfg_dict
    for part in path.split('.') if path else ():
        node = node[int(part)] if isinstance(node, (list, tuple)) else node[part]
    if not isinstance(node, dict) or 'type' not in node:
        return []
    return [
        name
        for reader in resolve_type(node['type'], cfg.get('default_scope'))
        for name in inspect.signature(reader).parameters
        if name not in ('self', 'args', 'kwargs')
    ]


def _unknown(cfg: Config, key: str, path: str, part: str) -> str:
    known = list(_paths(cfg._cfg_dict))
    siblings = [p for p in known if p.rpartition('.')[0] == path]
    names = [*(s.rpartition('.')[2] for s in siblings), *_arguments(cfg, path)]
    close = [
        f'{path}.{name}' if path else name
        for name in difflib.get_close_matches(part, list(dict.fromkeys(names)), n=3, cutoff=0.6)
    ]
    # The right name in the wrong place is the commonest slip after a typing error.
    leaf = key.rpartition('.')[2]
    close += [p for p in known if p.rpartition('.')[2] == leaf][:3]
    if not close:
        close = [p for p in difflib.get_close_matches(key, known, n=3, cutoff=0.75) if not key.startswith(f'{p}.')]
    nearest = list(dict.fromkeys(close))[:4]
    where = f'{path} has no entry {part!r}' if path else f'the config has no key {part!r}'
    hint = f'; nearest: {", ".join(nearest)}' if nearest else ''
    if not hint and siblings:
        hint = f'; it has: {", ".join(s.rpartition(".")[2] for s in siblings[:12])}'
    return f'--cfg-options {key}: {where} and nothing would read it{hint} (to add it all the same write +{key}=VALUE)'
