"""What a configuration says about its data, through all wrappers, without building anything."""

import inspect
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Parts of a segmentation model without classes; there the auxiliary heads have those of the data set.
NOT_SEGMENTING = ('backbone', 'neck', 'data_preprocessor')
# Heads whose num_classes is not the number of classes of the data set: objectness, or another labelling.
NOT_LABELLING = ('backbone', 'neck', 'rpn_head', 'semantic_head', 'auxiliary_head', 'data_preprocessor')


@dataclass(frozen=True)
class DatasetFacts:
    """Places of a dataset, joined as mmengine joins them.

    Attributes:
        data_root: As configured, '' if there is none.
        ann_file: Path of the annotation file, '' if there is none.
        prefixes: Key of ``data_prefix`` to directory.
        remote: A place that is not on the local file system, '' if all are.
    """

    data_root: str
    ann_file: str
    prefixes: dict[str, str]
    remote: str


def dataset_facts(dataset: Mapping[str, Any]) -> DatasetFacts:
    """Where a dataset's files are."""
    root = dataset.get('data_root') or ''
    ann_file = _join(root, dataset.get('ann_file') or '')
    prefixes = {
        key: _join(root, prefix) if prefix else root
        for key, prefix in (dataset.get('data_prefix') or {}).items()
        if isinstance(prefix, str)
    }
    places = [root, ann_file, *prefixes.values()]
    remote = next((place for place in places if '://' in place), '')
    if not remote and (dataset.get('backend_args') or {}).get('backend', 'local') != 'local':
        remote = f'the storage backend {dataset["backend_args"]["backend"]!r}'
    return DatasetFacts(root, ann_file, {key: place or '.' for key, place in prefixes.items()}, remote)


def _join(root: str, path: str) -> str:
    return os.path.join(root, path) if path and root and '://' not in path else path


def leaf_datasets(dataset: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The datasets inside wrappers (repeated, concatenated, mixed, balanced), with their place in the configuration."""
    if isinstance(dataset, list | tuple):
        for index, inner in enumerate(dataset):
            yield from leaf_datasets(inner, f'{where}.{index}')
    elif isinstance(dataset, Mapping) and dataset.get('datasets') is not None:
        yield from leaf_datasets(dataset['datasets'], f'{where}.datasets')
    elif isinstance(dataset, Mapping) and dataset.get('dataset') is not None:
        yield from leaf_datasets(dataset['dataset'], f'{where}.dataset')
    elif isinstance(dataset, Mapping):
        yield where, dataset


def _type_name(cfg: Mapping[str, Any]) -> str:
    kind = cfg.get('type', '')
    return kind if isinstance(kind, str) else getattr(kind, '__name__', str(kind))


def _dataset_class(dataset: Mapping[str, Any], scope: str | None) -> tuple[type | None, str]:
    """The registered class of a dataset, or None and the reason."""
    if isinstance(dataset.get('type'), type):
        return dataset['type'], ''
    name = _type_name(dataset)
    try:
        from mmengine.registry import DATASETS

        with DATASETS.switch_scope_and_registry(scope) as registry:
            found = registry.get(name)
    except Exception as error:  # Anything may go wrong in the libraries' imports; the caller reports it.
        return None, f'{scope or "its library"} cannot be imported: {error}'
    return found, '' if found else f'no dataset is registered as {name!r}'


def is_coco(dataset: Mapping[str, Any], scope: str | None) -> bool:
    """Whether the annotation file is in COCO's detection format, read by mmdet's ``CocoDataset`` or a child of it."""
    if _type_name(dataset).split('.')[-1] == 'CocoDataset':
        return True
    found, _ = _dataset_class(dataset, scope)
    ancestors = {ancestor.__name__ for ancestor in found.__mro__} if found else set()
    # These read other files: segments of panoptic maps, image URLs in place of names.
    return 'CocoDataset' in ancestors and not ancestors & {'CocoPanopticDataset', 'LVISV05Dataset'}


def segmentation_class(dataset: Mapping[str, Any], scope: str | None) -> type | None:
    """The class of a dataset that pairs images with label maps as mmseg's ``BaseSegDataset`` does, else None."""
    found, _ = _dataset_class(dataset, scope)
    for ancestor in found.__mro__ if found else ():
        if 'load_data_list' in vars(ancestor):
            return found if ancestor.__name__ == 'BaseSegDataset' else None
    return None


def dataset_argument(dataset: Mapping[str, Any], kind: type, name: str) -> tuple[Any, Any]:
    """An argument of a dataset as configured (the class's default where it is not), and that default."""
    default = None
    for ancestor in kind.__mro__:
        parameters = inspect.signature(ancestor.__init__).parameters if '__init__' in vars(ancestor) else {}
        if name in parameters:
            default = parameters[name].default
            break
    return dataset.get(name, default), default


def default_classes(dataset: Mapping[str, Any], scope: str | None) -> tuple[list[str] | None, str]:
    """Classes of a dataset whose configuration names none: those of its class, or None and the reason."""
    found, reason = _dataset_class(dataset, scope)
    classes = (getattr(found, 'METAINFO', None) or {}).get('classes')
    if not classes:
        return None, reason or f'{_type_name(dataset)} has none of its own and metainfo.classes is not set'
    return list(classes), ''


def model_num_classes(
    model: Mapping[str, Any], path: str = 'model', others: tuple[str, ...] = NOT_LABELLING
) -> dict[str, int]:
    """Every ``num_classes`` of the heads that label as the data set does, by its place in the configuration.

    Args:
        model: The model's configuration or a part of it.
        path: Where that part is.
        others: Parts of a model that have another labelling or none.
    """
    found: dict[str, int] = {}
    for key, value in model.items():
        here = f'{path}.{key}'
        if key == 'num_classes' and isinstance(value, int) and path != 'model':
            found[here] = value
        elif isinstance(value, Mapping) and key not in others:
            found |= model_num_classes(value, here, others)
        elif isinstance(value, list | tuple) and key not in others:
            for index, inner in enumerate(value):
                if isinstance(inner, Mapping):
                    found |= model_num_classes(inner, f'{here}.{index}', others)
    return found


def steps_of(pipeline: Any) -> Iterator[Mapping[str, Any]]:
    """All transforms of a pipeline, those inside other transforms included."""
    for step in pipeline or ():
        if isinstance(step, Mapping):
            yield step
            yield from steps_of(step.get('transforms'))
        elif isinstance(step, list | tuple):
            yield from steps_of(step)


def mask_user(cfg: Mapping[str, Any], dataset: Mapping[str, Any], where: str) -> str:
    """What in the configuration needs the masks of this dataset, '' if nothing does."""
    if ((cfg.get('model') or {}).get('roi_head') or {}).get('mask_head'):
        return 'model.roi_head.mask_head'
    if any(step.get('with_mask') for step in steps_of(dataset.get('pipeline'))):
        return f'LoadAnnotations(with_mask=True) in {where}.pipeline'
    return ''


def max_bad_fraction(dataset: Mapping[str, Any]) -> float:
    """Fraction of images that the dataset's pipeline may skip."""
    if dataset.get('test_mode', False):
        return 0.0
    for step in steps_of(dataset.get('pipeline')):
        name = _type_name(step)
        if name == 'mmswin.LoadImageFromFile':
            return float(step.get('max_bad_fraction', 0.01))
        if name.endswith('LoadImageFromFile') and step.get('ignore_empty'):
            return 0.01
    return 0.0
