"""What a configuration says about its data, through all wrappers, and the dataset that it builds."""

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

# Parts of a segmentation model without classes; there the auxiliary heads have those of the data set.
NOT_SEGMENTING = ('backbone', 'neck', 'data_preprocessor')
# Heads whose num_classes is not the number of classes of the data set: objectness, or another labelling.
NOT_LABELLING = ('backbone', 'neck', 'rpn_head', 'semantic_head', 'auxiliary_head', 'data_preprocessor')


def leaf_datasets(dataset: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The datasets inside wrappers (repeated, concatenated, mixed, balanced), with their place in the configuration."""
    if isinstance(dataset, list | tuple):
        for index, inner in enumerate(dataset):
            yield from leaf_datasets(inner, f'{where}.{index}')
    elif isinstance(dataset, Mapping):
        key = next((key for key in ('datasets', 'dataset') if dataset.get(key) is not None), None)
        yield from leaf_datasets(dataset[key], f'{where}.{key}') if key else [(where, dataset)]


def walk(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted path and value of all that is in a dict or list of a config, the outer before the inner."""
    entries = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list | tuple) else ()
    for key, value in entries:
        inner = f'{path}.{key}' if path else str(key)
        yield inner, value
        yield from walk(value, inner)


def dicts_in(node: Any) -> Iterator[dict]:
    """All dicts in a config, itself included, the outer before the inner."""
    return (value for _, value in chain([('', node)], walk(node)) if isinstance(value, dict))


def short_name(kind: Any) -> str:
    """The name of a type without scope, path or module; a configuration may give the class itself."""
    return kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', str(kind))


def registered_class(node: Mapping[str, Any], scope: str | None, registry: str = 'DATASETS') -> tuple[type | None, str]:
    """The class that the type of a dict stands for in a registry of mmengine's, or None and the reason."""
    name = node.get('type', '')
    if isinstance(name, type):
        return name, ''
    try:
        from mmengine import registry as registries

        with getattr(registries, registry).switch_scope_and_registry(scope) as local:
            found = local.get(name)
    except Exception as error:  # Anything may go wrong in the libraries' imports; the caller reports it.
        return None, f'{scope or "its library"} cannot be imported: {error}'
    return found, '' if found else f'nothing is registered as {name!r} among {registry}'


def ancestors(kind: type | None) -> set[str]:
    """A class and its bases, each by its library and name: ``mmdet.CocoDataset``; another library's is another."""
    return {f'{base.__module__.partition(".")[0]}.{base.__name__}' for base in getattr(kind, '__mro__', ())}


def can_be_lazy(kind: Any) -> bool:
    """Whether a class is a data set of mmengine's that can be built without loading anything."""
    from mmengine.dataset import BaseDataset

    if not inspect.isclass(kind) or not issubclass(kind, BaseDataset):
        return False
    parameters = inspect.signature(kind).parameters.values()
    return any(one.name == 'lazy_init' or one.kind is one.VAR_KEYWORD for one in parameters)


def build_dataset(dataset: Mapping[str, Any], scope: str | None) -> Any:
    """Build a dataset of a configuration without its pipeline and without loading anything.

    Raises:
        Exception: What its class raises at its arguments.
    """
    from mmengine.registry import DATASETS

    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.build({**copy.deepcopy(dict(dataset)), 'pipeline': [], 'lazy_init': True})


def build_step(dataset: Mapping[str, Any], scope: str | None, name: str) -> Any:
    """The first transform of a dataset's pipeline whose type has this name; None if it has none or fails."""
    step = next((step for step in dicts_in(dataset.get('pipeline')) if short_name(step.get('type')) == name), None)
    with suppress(Exception):  # the run says why, when it builds its pipelines
        from mmengine.registry import TRANSFORMS

        with TRANSFORMS.switch_scope_and_registry(scope) as registry:
            return step and registry.build(copy.deepcopy(dict(step)))
    return None


def model_num_classes(model: Mapping[str, Any], others: tuple[str, ...] = NOT_LABELLING) -> dict[str, int]:
    """Every ``num_classes`` of the heads that label as the data set does, by its place in the configuration.

    Args:
        model: The model's configuration.
        others: Parts of a model that have another labelling or none.
    """
    return {
        f'model.{place}': value
        for place, value in walk(model)
        if place.endswith('.num_classes') and isinstance(value, int) and not {*place.split('.')} & {*others}
    }


def metrics_of(cfg: Mapping[str, Any], split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Place and configuration of each metric of a split, of one, a list, or an evaluator of several."""
    given, place = cfg.get(f'{split}_evaluator') or (), f'{split}_evaluator'
    if isinstance(given, Mapping) and 'metrics' in given:
        given, place = given['metrics'], f'{place}.metrics'
    entries = [(place, given)] if isinstance(given, Mapping) else [(f'{place}.{i}', one) for i, one in enumerate(given)]
    return ((place, one) for place, one in entries if isinstance(one, Mapping))


def option(cfg: Mapping[str, Any], key: str, value: object) -> str:
    """``--cfg-options KEY=VALUE``, or ``+KEY=VALUE`` where the configuration has no such key yet."""
    node: Any = getattr(cfg, '_cfg_dict', cfg)  # a Config of mmengine is no mapping
    for part in key.split('.'):
        if isinstance(node, list | tuple) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        elif isinstance(node, Mapping) and part in node:
            node = node[part]
        else:
            return f'--cfg-options +{key}={value}'
    return f'--cfg-options {key}={value}'


def default_arguments(kind: Any) -> dict[str, Any]:
    """The arguments of a class and their defaults, those of the classes that it passes the rest on to included."""
    found: dict[str, Any] = {}
    for ancestor in getattr(kind, '__mro__', ()):
        for name, parameter in inspect.signature(ancestor.__init__).parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, parameter.default)
    return found
