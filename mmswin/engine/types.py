"""What a ``type`` in a config stands for and what reads its arguments: registries and classes are asked.

A type is a name, with or without a scope, a dotted path, or, in mmengine's Python-style configs, the class itself.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from mmengine import registry as _registries
from mmengine.hooks import Hook
from mmengine.runner import Runner

# What a `type` in a config may name.
_REGISTRIES = tuple(
    getattr(_registries, name)
    for name in (
        'MODELS', 'DATASETS', 'TRANSFORMS', 'TASK_UTILS', 'OPTIMIZERS', 'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS',
        'PARAM_SCHEDULERS', 'HOOKS', 'LOOPS', 'METRICS', 'EVALUATOR', 'DATA_SAMPLERS', 'VISUALIZERS', 'VISBACKENDS',
    )
)  # fmt: skip


def resolve_type(kind: Any, scope: str | None) -> list[Callable]:
    """All classes and functions that the registries know by a type as seen from a scope."""
    if callable(kind):
        return [kind]
    found = []
    for registry in _REGISTRIES if isinstance(kind, str) else ():
        with registry.switch_scope_and_registry(scope) as local:
            entry = local.get(kind)
        if callable(entry) and entry not in found:
            found.append(entry)
    return found


def readers_of(node: Mapping[str, Any], scope: str | None) -> list[Callable]:
    """What reads the entries of a dict with a ``type``: its class, and what that passes arguments on to.

    A class that takes ``**kwargs`` and the name of a type (RandomResize's ``resize_type``, EMAHook's ``ema_type``) builds
    that type with them; a hook's ``priority`` is the Runner's.
    """
    found = resolve_type(node['type'], scope)
    for target in tuple(found):
        parameters = inspect.signature(target).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            types = [node.get(name, one.default) for name, one in parameters.items() if name.endswith('_type')]
            found += [reader for kind in types for reader in resolve_type(kind, scope)]
        if inspect.isclass(target) and issubclass(target, Hook):
            found.append(Runner.register_hook)
    return found


def accepts(target: Callable, name: str) -> bool:
    """Whether calling ``target`` with the keyword ``name`` can be right.

    ``**kwargs`` of a class are followed to its base classes, the last of which refuses what no class takes out of them.
    """
    if not inspect.isclass(target):
        parameters = inspect.signature(target).parameters.values()
        return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)
    passed_on = []
    for base in inspect.getmro(target)[:-1]:
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        if any(p.name == name for p in parameters):
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
        passed_on.append(base)
    return any(takes_out(base, name, 'kwargs') for base in passed_on)


def takes_out(target: Callable, name: str, dicts: str = r'\w*(?:cfg|config|kwargs|param|_)') -> bool:
    """Whether the code of a class, its bases or a function takes an entry of this name out of a dict called ``dicts``."""
    quoted = rf"""['"]{re.escape(name)}['"]"""
    taken = rf'{dicts}(?:\.(?:pop|get|setdefault)\(\s*|\[){quoted}|{quoted} (?:not )?in {dicts}\b'
    return any(re.search(taken, source) for source in _sources(target))


def mentions(target: Callable, name: str) -> bool:
    """Whether the code of ``target`` or its bases names an entry or attribute of a config."""
    return any(re.search(rf"""[.'"]{re.escape(name)}\b""", source) for source in _sources(target))


def _sources(target: Callable) -> Iterator[str]:
    for base in inspect.getmro(target) if inspect.isclass(target) else (target,):
        module = getattr(base, '__module__', '')
        if module.partition('.')[0] not in ('torch', 'builtins', 'abc', 'typing'):
            yield _source(module)


@cache
def _source(module: str) -> str:
    try:
        return inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):
        return ''
