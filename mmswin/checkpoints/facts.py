"""What a run gets to see of a checkpoint: weights, and a closed list of facts with checked types.

mmengine believes what it loads: ``Runner.resume`` executes ``meta['config']``, the checkpoint hook deletes the file that
``best_ckpt`` names, a scheduler takes over every attribute that it finds. So a checkpoint passes through :func:`facts`
first. What a run saves comes through unchanged, to the bit; what is not on the list stays outside.
"""

import os
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmswin.errors import CheckpointError, printable

_MAX_LEVELS = 20
_MAX_COUNT = 2**53
_MAX_LOGS = 4096
_NUMBERS = (bool, int, float, type(None), np.number, np.bool_, np.ndarray, Tensor, torch.Size)


def _is_numbers(value: Any, leaves: tuple[type, ...] = _NUMBERS, level: int = 0) -> bool:
    """Whether containers hold nothing but such leaves, and mappings such or names as keys."""
    if isinstance(value, leaves):
        return True
    if type(value) in (dict, OrderedDict, Counter):
        if not all(isinstance(key, (str, int, float, type(None))) for key in value):
            return False
        value = value.values()
    elif type(value) not in (list, tuple, set):
        return False
    return level < _MAX_LEVELS and all(_is_numbers(item, leaves, level + 1) for item in value)


def _is_plain(value: Any) -> bool:
    return _is_numbers(value, (*_NUMBERS, str, bytes))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_COUNT


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 1000 and value.isprintable()


_META: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(('epoch', 'iter'), _is_count),
    'seed': lambda value: value is None or _is_count(value),
    'random_state': _is_numbers,
    **dict.fromkeys(('experiment_name', 'exp_name', 'time'), _is_text),
    'dataset_meta': lambda value: isinstance(value, Mapping) and _is_plain(value),
    **dict.fromkeys(
        ('CLASSES', 'PALETTE', 'classes', 'palette'),
        lambda value: isinstance(value, (Mapping, list, tuple, str)) and _is_plain(value),
    ),
}
_RUNTIME: dict[str, Callable[[Any], bool]] = {
    **_META,
    **dict.fromkeys(('loop_stage', 'task_name', 'last_ckpt'), _is_text),
    'keep_ckpt_ids': lambda value: type(value) is list and all(map(_is_count, value)),
    **dict.fromkeys(('images_per_iteration', 'iterations_per_epoch', 'max_epochs', 'max_iters'), _is_count),
}


def facts(checkpoint: Mapping[str, Any], directory: str | os.PathLike | None = None) -> dict[str, Any]:
    """What a run may see of a loaded checkpoint, made by mmengine, by mmswin or by anybody.

    Args:
        checkpoint: A file's content, or its weights alone.
        directory: The run's own directory: where the best checkpoint lies that the run may delete for a better one.

    Returns:
        The weights under the names of their containers; ``meta``, ``message_hub``, ``optimizer`` and
        ``param_schedulers`` with the entries that are known and of the right type; of what else there is, numbers
        alone. No text of a configuration. Idempotent.

    Raises:
        CheckpointError: Weights whose names are no strings; the message lacks the file's name.
    """
    kept: dict[str, Any] = {}
    for key, value in checkpoint.items():
        if not isinstance(key, str):
            _weights({key: value})
        elif key in _STATES:
            known = _STATES[key](value, directory)
            if known is not None:
                kept[key] = known
        elif holds_tensors(value):
            kept[_name(key)] = _weights(value)
        elif _is_numbers(value):
            kept[key] = value
    return kept


def meta_facts(meta: Any, _: Any = None) -> dict[str, Any] | None:
    """The entries of a checkpoint's ``meta`` that are known and of the right type; None if it is no mapping."""
    if not isinstance(meta, Mapping):
        return None
    return {key: value for key, value in meta.items() if isinstance(key, str) and _fits(_META, key, value)}


def _fits(known: Mapping[str, Callable[[Any], bool]], key: str, value: Any) -> bool:
    return known[key](value) if key in known else key.endswith('_version') and _is_text(value)


def holds_tensors(value: Any) -> bool:
    """Whether a value is a tensor, or a mapping with one in it at any depth."""
    return isinstance(value, Tensor) or (isinstance(value, Mapping) and any(map(holds_tensors, value.values())))


def _name(key: str) -> str:
    """The name of a tensor; mmengine logs those that it does not know as they are."""
    return key if key.isprintable() else printable(key, 1000)


def _weights(value: Any) -> Any:
    """A tensor, or a state dict's tensors and numbers, without the attributes that torch would obey (``_metadata``)."""
    if isinstance(value, Tensor):
        return value
    kept: OrderedDict[str, Any] = OrderedDict()
    for key, item in value.items():
        if not isinstance(key, str) and isinstance(item, Tensor):
            raise CheckpointError(f'names a tensor {printable(key, 40)}, a {type(key).__name__}: names are strings')
        inner = _weights(item) if isinstance(item, Mapping) else item
        if isinstance(key, str) and (bool(inner) or not item if inner is not item else _is_numbers(item)):
            kept[_name(key)] = inner
    return kept


def _hub(hub: Any, directory: str | os.PathLike | None) -> dict[str, Any] | None:
    """The state of mmengine's MessageHub."""
    from mmengine.logging import HistoryBuffer

    if not isinstance(hub, Mapping):
        return None
    parts = (hub.get(name) for name in ('log_scalars', 'runtime_info', 'resumed_keys'))
    scalars, infos, resumed = (part if isinstance(part, Mapping) else {} for part in parts)
    scalars = OrderedDict((k, v) for k, v in scalars.items() if _is_text(k) and type(v) is HistoryBuffer)
    infos = OrderedDict((k, v) for k, v in infos.items() if _is_text(k) and _is_info(k, v, directory))
    if len(resumed) > _MAX_LOGS:  # mmengine goes through all of them for each
        raise CheckpointError(f'has a log of {len(resumed)} names, and {_MAX_LOGS} are the most that is read')
    resumed = OrderedDict((k, v) for k, v in resumed.items() if type(v) is bool and (k in scalars or k in infos))
    return {'log_scalars': scalars, 'runtime_info': infos, 'resumed_keys': resumed}


def _is_info(key: str, value: Any, directory: str | os.PathLike | None) -> bool:
    if key in _RUNTIME or key.endswith('_version'):
        return _fits(_RUNTIME, key, value)
    if key.startswith('best_score'):
        return isinstance(value, (int, float, np.number)) or (isinstance(value, Tensor) and value.numel() == 1)
    if key.startswith('best_ckpt'):
        return directory is not None and _is_best(value, directory)
    return _is_plain(value) if key.startswith(('train/', 'val/', 'test/')) else _is_numbers(value)


def _is_best(value: Any, directory: str | os.PathLike) -> bool:
    """Whether a name is that of a best checkpoint, a file, in the directory."""
    if not _is_text(value) or os.path.isdir(value):
        return False
    place, name = os.path.split(value)
    return name.startswith('best_') and name.endswith('.pth') and os.path.realpath(place) == os.path.realpath(directory)


def _schedulers(value: Any, _: Any) -> Any:
    """The states of schedulers, in a list or in lists by the optimizer's name."""
    from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

    if isinstance(value, Mapping):
        lists = {key: _schedulers(states, None) for key, states in value.items() if isinstance(key, str)}
        return None if None in lists.values() else lists
    if not isinstance(value, (list, tuple)) or not all(isinstance(state, Mapping) for state in value):
        return None

    def is_attribute(key: Any) -> bool:  # what is saved becomes one, and must not hide a method
        return isinstance(key, str) and key != 'optimizer' and not hasattr(_ParamScheduler, key)

    return [{k: v for k, v in state.items() if is_attribute(k) and _is_plain(v)} for state in value]


_STATES: dict[str, Callable[[Any, Any], Any]] = {
    'meta': meta_facts,
    'message_hub': _hub,
    'optimizer': lambda value, _: value if isinstance(value, Mapping) and _is_plain(value) else None,
    'param_schedulers': _schedulers,
}
