"""Find faults of the data that a configuration names, before anything is trained.

The datasets of the configuration are built, and mmdet's and mmseg's own code says what it makes of their files; nothing
is trained and no model is built. Where that cannot be asked, a fault is a warning, not an error.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmswin.data import class_folders, coco_checks, label_maps
from mmswin.data.checked_dataset import CheckedDataset, Report
from mmswin.data.config_facts import NOT_LABELLING, NOT_SEGMENTING, leaf_datasets, model_num_classes
from mmswin.data.pictures import listing
from mmswin.data.places import check_places
from mmswin.errors import plain_message


def inspect_config(cfg: Mapping[str, Any], splits: Sequence[str] = ('train', 'val'), decode: bool = False) -> Report:
    """Check the data of a configuration without training.

    Args:
        cfg: A configuration of mmdet or mmseg (an mmengine ``Config`` or a dict).
        splits: Which of ``'train'``, ``'val'`` and ``'test'`` to check. One without a data loader is passed over.
        decode: Also read every image to its end (minutes on a large data set).

    Returns:
        The findings, and a line on each dataset read.

    Raises:
        ValueError: An unknown split.
    """
    unknown = set(splits) - {'train', 'val', 'test'}
    if unknown:
        raise ValueError(f'unknown split {listing(sorted(unknown))}: expected train, val or test')
    report = Report()
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            continue
        leaves = leaf_datasets(loader.get('dataset') or {}, f'{split}_dataloader.dataset')
        parts = [CheckedDataset(cfg, split, where, dataset, decode, report) for where, dataset in leaves]
        for part in parts:
            _check(part)
        useless = [part.useless for part in parts if part.useless]
        for message in useless:
            # One without labels may stand next to others that have some, as in semi-supervised training.
            report.add('error' if len(useless) == len(parts) else 'warning', message, split)
        # Places on other file systems are the metric's too.
        if split != 'train' and not any(part.remote for part in parts):
            coco = [part for part in parts if part.format == 'coco' and part.built is not None]
            coco_checks.check_evaluators(cfg, split, coco, report)
    return report


def _check(part: CheckedDataset) -> None:
    if part.remote:
        part.warning(f'{part.where} reads from {part.remote}, which cannot be checked from here')
        return
    try:
        part.build()
    except Exception as error:  # its class's own, of any kind
        own = {**(getattr(part.kind, 'METAINFO', None) or {}), **(part.dataset.get('metainfo') or {})}
        told = _colours(part, own['palette'], own['classes'], '"[]"') if 'palette does not match' in str(error) else ''
        part.error(told or f'{part.where} cannot be built: {plain_message(error)[:400]}{_hint_of_classes(part)}')
        return
    if hasattr(part.built, '_check_integrity'):
        class_folders.check_fetched(part)
        return
    if part.built is not None and not check_places(part):
        return
    if not part.format:
        reason = f' ({part.unknown})' if part.unknown else ''
        part.summarize(f'the contents of {part.where}, a {part.dataset.get("type")}, are not checked{reason}')
        return
    if part.format == 'classes':
        classes = class_folders.check(part)
    else:
        classes = _expected_classes(part)
        _check_palette(part, classes)
        label_maps.check(part) if part.format == 'maps' else coco_checks.check(part, classes)
    _check_num_classes(part, classes)


def _check_palette(part: CheckedDataset, classes: Sequence[str]) -> None:
    palette = part.built.metainfo.get('palette')
    if part.format == 'coco' and part.split != 'train' and isinstance(palette, list) and len(palette) < len(classes):
        drawn = ((part.cfg.get('default_hooks') or {}).get('visualization') or {}).get('draw')
        part.add('error' if drawn else 'warning', _colours(part, palette, classes, 'random'))


def _expected_classes(part: CheckedDataset) -> list[str]:
    """Names of the classes that the dataset expects; [] if they are not known or not names."""
    given = part.dataset.get('metainfo') or {}
    classes = part.built.metainfo.get('classes')
    if 'CLASSES' in given and 'classes' not in given:
        part.error(
            f"{part.where}.metainfo has 'CLASSES', which mmdet 3 does not read: write it in lower case, "
            'metainfo=dict(classes=(...))'
        )
    elif isinstance(classes, str):
        part.error(
            f'{part.where}.metainfo.classes is the text {classes!r}, which mmdet would take letter by letter (or, were it '
            f'a file, line by line): write a tuple, ({classes!r},)'
        )
    elif not classes:
        part.warning(
            f'{part.where}: the expected classes are unknown ({type(part.built).__name__} has none of its own and '
            'metainfo.classes is not set)'
        )
    else:
        return list(classes)
    return []


def _colours(part: CheckedDataset, palette: Sequence[Any], classes: Sequence[str], by_chance: str) -> str:
    """Of too short a palette, at which mmseg's data set stops, and mmdet's visualizer where it draws."""
    stops = 'mmdet stops where it draws the others (--show-dir)' if part.format == 'coco' else 'mmseg stops'
    return (
        f'the palette of {part.where} has {len(palette)} colours, and there are {len(classes)} classes: {stops}. Give each '
        f'class one in metainfo.palette, or have them drawn by chance: {part.option("metainfo.palette", by_chance)}'
    )


def _hint_of_classes(part: CheckedDataset) -> str:
    own = (getattr(part.kind, 'METAINFO', None) or {}).get('classes') or ()
    strange = [name for name in (part.dataset.get('metainfo') or {}).get('classes') or () if name not in own]
    if not own or not strange or part.format != 'maps':
        return ''
    return (
        f'. {listing(strange)} {"is" if len(strange) == 1 else "are"} not among the {len(own)} classes of '
        f"{part.kind.__name__}: for classes of one's own set {part.where}.type='BaseSegDataset' (and its img_suffix, "
        'seg_map_suffix and reduce_zero_label)'
    )


def _check_num_classes(part: CheckedDataset, classes: Sequence[str]) -> None:
    if not classes or getattr(part.built, 'return_classes', False):
        return  # a model that is told the names
    model = part.cfg.get('model') or {}
    heads = model_num_classes(model, NOT_SEGMENTING if part.format == 'maps' else NOT_LABELLING)
    place = 'model.data_preprocessor' if model.get('data_preprocessor') else 'data_preprocessor'
    preprocessor = model.get('data_preprocessor') or part.cfg.get('data_preprocessor') or {}
    spreads = preprocessor.get('to_onehot') or (model.get('train_cfg') or {}).get('augments')
    if part.format == 'classes' and spreads and isinstance(preprocessor.get('num_classes'), int):
        heads[f'{place}.num_classes'] = preprocessor['num_classes']  # it makes a row of them of each label
    # An auxiliary head with one or two outputs sees edges (STDC), not classes.
    wrong = {path: n for path, n in heads.items() if n != len(classes) and (n > 2 or 'auxiliary_head' not in path)}
    if wrong:
        options = ' '.join(f'{path}={len(classes)}' for path in wrong)
        names = part.option('metainfo.classes', '"(...)"')
        remedy = f'name the classes in metainfo of every data set: {names}'
        if part.format == 'classes' and not part.built.ann_file:
            remedy = f'take away the folders in {part.built.img_prefix!r} that are no classes'
        part.error(
            f'{part.where} has {len(classes)} classes ({listing(classes)}), and the model expects another number: '
            + listing(f'{path}={number}' for path, number in wrong.items())
            + f'. If the classes are right, set the heads: --cfg-options {options}; if the heads are right, {remedy}'
        )
