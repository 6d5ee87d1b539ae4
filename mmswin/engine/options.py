"""``--cfg-options``: a key that nothing reads is refused, with the keys it may have meant.

The rule. A key that exists in the config may be changed. A new key may be added

* to a dict with a ``type``, of the config or of the same command, when that class takes the name, or the class of a
  dict around it takes it out; when nobody knows the type, any;
* to a section of the config that the Runner passes to a known function (``train_dataloader``, ``env_cfg``, ...),
  when that function has the name; and at the top, when the Runner has it;
* to another dict, when the code of a class of that part of the config mentions it;
* anywhere, when the key is written with a plus sign: ``+model.test_cfg.rcnn.extra=1``.

A top-level variable that only helps to write the config file (``data_root``, ``backend_args``, ...) was read while the
file was parsed; changing it afterwards changes nothing, so it is refused too and the places it went to are named.
"""

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from mmengine.config import Config, DictAction
from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, Runner, TestLoop, ValLoop
from mmengine.utils import apply_to
from mmengine.utils.dl_utils import set_multi_processing
from torch.utils.data import DataLoader

from mmswin.data.config_facts import dicts_in, walk
from mmswin.engine.types import accepts, mentions, readers_of, resolve_type, takes_out
from mmswin.errors import RunError

# Read from `runner.cfg` or by the tools, next to the arguments of the Runner itself.
_TOP_LEVEL = frozenset({
    'sync_bn', 'find_unused_parameters', 'model_wrapper_cfg', 'activation_checkpointing', 'efficient_conv_bn_eval',
    'compile', 'runner_type', 'tta_model', 'tta_pipeline', 'custom_imports', 'auto_scale_lr', 'work_dir',
    'strategy',
})  # fmt: skip

_BUILDERS_OWN = frozenset({'type', '_scope_', '_delete_'})
_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')

# Sections without a `type` of their own: what reads them.
_SECTIONS: dict[str, tuple[Callable, ...]] = {
    **dict.fromkeys(_LOADERS, (DataLoader,)),
    'train_cfg': (EpochBasedTrainLoop, IterBasedTrainLoop),
    'val_cfg': (ValLoop,),
    'test_cfg': (TestLoop,),
    'optim_wrapper': (OptimWrapper,),
    'log_processor': (LogProcessor,),
    'randomness': (Runner.set_randomness,),
    'env_cfg.mp_cfg': (set_multi_processing,),
}
# What takes entries out of a section besides, and what it calls that.
_TAKEN_BY: dict[str, tuple[Callable, str]] = {
    **dict.fromkeys(_LOADERS, (Runner, 'dataloader_cfg')),
    'train_cfg': (Runner, 'loop_cfg'),
    'env_cfg': (Runner, 'env_cfg'),
    'auto_scale_lr': (Runner, 'auto_scale_lr'),
}
_SECTION_KEYS: dict[str, frozenset[str]] = {
    'optim_wrapper': frozenset({'constructor', 'paramwise_cfg', 'optimizer'}),
    'param_scheduler': frozenset({'convert_to_iter_based'}),
    'env_cfg.dist_cfg': frozenset({'backend', 'timeout', 'init_backend', 'port'}),
    'strategy': frozenset({'type', 'wrap'}),
}
# The keys of these dicts are names of the user's own.
_FREE_DICTS = frozenset({'default_hooks', 'custom_keys', 'metainfo', 'data_prefix'})


def parse_options(written: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts of a command line as a dict.

    A value is read as mmengine's ``DictAction`` reads it (numbers, ``True``, ``None``, ``a,b`` and ``[a,b]`` as lists),
    but spaces inside names stay, and what is a list, tuple or dict of Python is one.

    Raises:
        RunError: A text without ``=``, or brackets that do not match.
    """
    options = {}
    for text in written:
        key, equals, value = text.partition('=')
        if not equals:
            raise RunError(f'--cfg-options {text}: write KEY=VALUE')
        options[key.strip()] = _parse_value(value.strip(), key)
    return options


def _parse_value(text: str, key: str) -> Any:
    if text[:1] in ('[', '(', '{'):
        with suppress(ValueError, SyntaxError):
            value = ast.literal_eval(text)
            if isinstance(value, (list, tuple, dict)):
                return value
    # mmengine drops all spaces; those inside a name pass it as another character.
    text = re.sub(r'\s*([\[\](),])\s*', r'\1', text).replace(' ', '\0')
    try:
        found = DictAction._parse_iterable(text)
        return apply_to(found, lambda value: isinstance(value, str), lambda value: value.replace('\0', ' '))
    except AssertionError as error:
        raise RunError(f'--cfg-options {key}: the brackets in {text!r} do not match') from error


def check_options(cfg: Config, options: dict[str, Any]) -> dict[str, Any]:
    """Check ``--cfg-options`` against a config.

    Args:
        cfg: The config as its file gives it.
        options: Dotted key to value; a leading ``+`` in a key lets it be new.

    Returns:
        The options without plus signs, ready for ``Config.merge_from_dict``.

    Raises:
        RunError: A key that nothing would read, an index outside a list, or a value where a dict is needed.
    """
    checked = {key.removeprefix('+'): value for key, value in options.items()}
    types = {key.removesuffix('.type'): value for key, value in checked.items() if key.endswith('.type')}
    for key in options:
        if not key.startswith('+'):
            _check_key(cfg, key, types)
    return checked


def merge_options(cfg: Config, options: dict[str, Any] | Sequence[str] | None) -> None:
    """Check ``--cfg-options``, parsed or as written, and merge them into ``cfg`` (see :func:`check_options`)."""
    if options:
        parsed = options if isinstance(options, dict) else parse_options(options)
        cfg.merge_from_dict(check_options(cfg, parsed))


def _check_key(cfg: Config, key: str, types: dict[str, Any]) -> None:
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
            if not is_read(cfg, path, part, types):
                raise RunError(_unknown(cfg, key, path, part, types))
            return
        elif node is None:
            return  # a dict given in place of None; the class that reads it will judge it
        else:
            raise RunError(
                f'--cfg-options {key}: {path} is {node!r}, which has no entries of its own; give {path}=VALUE'
            )


def _check_index(key: str, path: str, node: list | tuple, part: str, last: bool) -> None:
    if not part.isdecimal():
        raise RunError(
            f'--cfg-options {key}: {path} is a list of {len(node)}; write {path}.N.NAME with N from 0 to '
            f'{len(node) - 1}, not {part!r}'
        )
    if int(part) >= len(node):
        raise RunError(f'--cfg-options {key}: {path} has {len(node)} entries (0 to {len(node) - 1}), not {part}')
    if last or not isinstance(node[int(part)], (dict, list)):
        plain = all(isinstance(value, (int, float, str)) for value in node)
        raise RunError(
            f'--cfg-options {key}: one value inside the list {path} cannot be set alone; give the whole '
            f'list, {path}="{list(node) if plain else "[...]"}"'
        )


def _refuse_helper_variable(cfg: Config, key: str, name: str) -> None:
    if name in top_level_names():
        return
    value = cfg[name]
    entries = {path: other for path, other in _entries(cfg) if path != name}
    uses = [path for path in entries if path.split('.')[-1] == name]
    uses += [path for path, other in entries.items() if isinstance(value, str) and other == value and path not in uses]
    where = f'; it went to {", ".join(uses[:6])}: change those' if uses else ''
    raise RunError(
        f'--cfg-options {key}: {name} is a helper variable of the config file and was already read, so '
        f'changing it now changes nothing{where} (or write +{key} to set it all the same)'
    )


def top_level_names() -> frozenset[str]:
    """What the Runner or the tools read at the top of a config; all else there only helps to write the file."""
    return _TOP_LEVEL | (frozenset(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'})


def _readers(cfg: Config, path: str, types: dict[str, Any]) -> list[Callable] | None:
    """What is built from the dict at a path; None where nobody knows its type, empty where it has none."""
    node: Any = cfg._cfg_dict
    for part in path.split('.') if path else ():
        node = node[int(part)] if isinstance(node, (list, tuple)) else node[part]
    kind = types.get(path, node.get('type') if isinstance(node, dict) else None)
    arguments = node if isinstance(node, dict) else {}
    return [] if kind is None else readers_of({**arguments, 'type': kind}, cfg.get('default_scope')) or None


def is_read(cfg: Config, path: str, name: str, types: dict[str, Any] | None = None) -> bool:
    """Whether something reads ``name`` from the dict at ``path``, whose type, or that of one around it, ``types`` may say."""
    types = types or {}
    parts = path.split('.')
    section = '.'.join(part for part in parts if not part.isdigit())
    if name in _BUILDERS_OWN or parts[-1] in _FREE_DICTS or name in _SECTION_KEYS.get(section, ()):
        return True
    if section in _TAKEN_BY and takes_out(_TAKEN_BY[section][0], name, _TAKEN_BY[section][1]):
        return True
    if section.startswith('optim_wrapper.paramwise_cfg'):
        kind = cfg.optim_wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
        readers = resolve_type(kind, cfg.get('default_scope'))
        if section.endswith('.paramwise_cfg'):
            return any(takes_out(reader, name, 'paramwise_cfg') for reader in readers)
        return any(mentions(reader, name) for reader in readers)  # an entry of custom_keys
    if not path:
        return name in top_level_names()
    readers = _readers(cfg, path, types)
    if readers is None:  # a type that nobody knows; the kinds of a strategy are ours
        return path != 'strategy'
    readers = [*readers, *_SECTIONS.get(path, ())]
    if any(accepts(reader, name) for reader in readers):
        return True
    around = [_readers(cfg, '.'.join(parts[:depth]), types) or [] for depth in range(1, len(parts))]
    if readers:
        return any(takes_out(reader, name) for level in around for reader in level)
    if path in _SECTION_KEYS or path in _TAKEN_BY:
        return False
    scope = cfg.get('default_scope')
    readers = [reader for part in dicts_in(cfg[parts[0]]) for reader in resolve_type(part.get('type'), scope)]
    return any(mentions(reader, name) for reader in readers)


def _entries(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Every dotted key that an option may name, and its value; not those of the values inside lists."""
    return (one for one in walk(cfg._cfg_dict) if isinstance(one[1], dict) or not one[0].split('.')[-1].isdigit())


def _unknown(cfg: Config, key: str, path: str, part: str, types: dict[str, Any]) -> str:
    known = [path for path, _ in _entries(cfg)]
    siblings = [p.rpartition('.')[2] for p in known if p.rpartition('.')[0] == path]
    arguments = [name for reader in _readers(cfg, path, types) or () for name in inspect.signature(reader).parameters]
    alike = difflib.get_close_matches(part, list(dict.fromkeys([*siblings, *arguments])), n=3, cutoff=0.6)
    close = [f'{path}.{name}' if path else name for name in alike]
    # The right name in the wrong place is the commonest slip after a typing error.
    leaf = key.rpartition('.')[2]
    close += [p for p in known if p.rpartition('.')[2] == leaf][:3]
    if not close:
        close = [p for p in difflib.get_close_matches(key, known, n=3, cutoff=0.75) if not key.startswith(f'{p}.')]
    nearest = list(dict.fromkeys(close))[:4]
    where = f'{path} has no entry {part!r}' if path else f'the config has no key {part!r}'
    hint = f'; nearest: {", ".join(nearest)}' if nearest else ''
    if not hint and siblings:
        hint = f'; it has: {", ".join(siblings[:12])}'
    return f'--cfg-options {key}: {where} and nothing would read it{hint} (to add it all the same write +{key}=VALUE)'
