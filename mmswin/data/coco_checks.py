"""Faults of a COCO annotation file, in the words of somebody who has to fix them; see :mod:`mmswin.data.annotations`."""

import contextlib
import io
import os
import reprlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mmswin.data.annotations import AnnotationFileError, Judgement, judge, read_coco
from mmswin.data.checked_dataset import CheckedDataset, Report
from mmswin.data.config_facts import ancestors, metrics_of, option, registered_class, short_name
from mmswin.data.label_maps import check_semantic_maps
from mmswin.data.pictures import folder_entries, listing, missing_files
from mmswin.errors import plain_message

Data = Mapping[str, Sequence[Mapping[str, Any]]]
# Pictures may differ in size from what is said of them in this part of a data set before it is an error.
_ODD_SIZES = 0.01
_BOX_ONLY = (
    '. Train without masks on the box-only variant (configs/cascade_rcnn_swin_t_coco.py, '
    'configs/faster_rcnn_swin_t_coco.py), or add the masks'
)


def check(part: CheckedDataset, classes: Sequence[str]) -> None:
    """Check a data set of COCO's format, with the names of the classes that it expects, if they are known."""
    path = part.ann_file
    try:
        data = read_coco(path)
        judgement = judge(part.built, data, part.step('LoadAnnotations'))
    except AnnotationFileError as error:
        part.error(str(error))
        return
    except ImportError as error:
        part.warning(f'{part.where} is not checked: {plain_message(error)}')
        return
    except Exception as error:  # the library's own, of any kind
        what = f'{type(error).__name__}: {plain_message(error)[:400]}'
        part.error(f'{path} cannot be loaded by {type(part.built).__name__} ({what})')
        return
    judgement.records = part.taken(judgement.records)
    _check_ids(part, path, data)
    _check_judgement(part, path, data, judgement)
    if classes and data.get('annotations'):
        _check_classes(part, path, data, classes)
    usable = judgement.usable
    if part.training and not usable and not judgement.stops:
        part.useless = _explain_useless(part, path, data, judgement)
    if part.split != 'train':
        part.content = data
        part.images = None if judgement.stops else {record['img_id'] for record in judgement.records}
        if not data['images']:
            part.error(f'{path} lists no images')
    records = judgement.records or judgement.loaded
    _check_images(part, path, records)
    if part.reads['seg']:
        check_semantic_maps(part, records)
    trainable = f', {usable} of them usable for training' if part.training else ''
    part.summarize(
        f'{len(data["images"])} images{trainable}; {len(data.get("annotations", ()))} annotations, '
        f'{len(data["categories"])} categories in {path}'
    )


def _check_images(part: CheckedDataset, path: str, records: Sequence[Mapping[str, Any]]) -> None:
    directory = part.built.data_prefix['img']
    said = {record['img_path']: (record['width'], record['height']) for record in records}
    missing = missing_files(said)
    if said and len(missing) == len(said):
        there = sorted(folder_entries(directory))
        part.error(
            f'none of the {len(said)} images that {path} lists is in {directory!r} (looked for '
            f'{os.path.relpath(missing[0], directory)!r}; the directory '
            + (f'holds {len(there)} entries, such as {there[0]!r}' if there else 'is empty')
            + f'). Set {part.where}.data_prefix.img'
        )
        return
    sizes = part.look_at(said, missing, path, said)
    wrong = [name for name, size in sizes.items() if size != said[name]]
    if wrong:
        named = listing(
            ('{} has {} x {} pixels and not {} x {}'.format(name, *sizes[name], *said[name]) for name in wrong), limit=3
        )
        part.add(
            'error' if len(wrong) > _ODD_SIZES * len(sizes) else 'warning',
            f'{len(wrong)} of {len(sizes)} pictures looked at have another size (width x height) than {path} says, so '
            f'that boxes and masks do not lie where the objects are: {named}. Were they resized or turned after they were '
            'labelled?',
        )


def _check_ids(part: CheckedDataset, path: str, data: Data) -> None:
    """Duplicate ids and names, and annotations whose image or category is not listed."""
    annotations = data.get('annotations', ())
    for section, entries in (('image', data['images']), ('annotation', annotations), ('category', data['categories'])):
        counts = Counter(entry['id'] for entry in entries)
        if len(counts) < len(entries):
            repeated = [number for number, count in counts.items() if count > 1]
            part.error(
                f'{path}: {len(repeated)} {section} ids occur more than once ({listing(repeated)}); every {section} '
                'needs an id of its own (files merged without renumbering?)'
            )
    names = Counter(str(category['name']) for category in data['categories'])
    if repeated := [name for name, count in names.items() if count > 1]:
        part.error(
            f'{path}: categories of the same name: {listing(repeated)}; mmdet would count each as a class, so merge or '
            'rename them'
        )
    for section, key, kind in (('images', 'image_id', 'image'), ('categories', 'category_id', 'category')):
        known = {entry['id'] for entry in data[section]}
        stray = [entry[key] for entry in annotations if entry[key] not in known]
        if not stray:
            continue
        own = next(iter(known), stray[0])
        types = f'; {key} is a {type(stray[0]).__name__}, and ids of {section} are of type {type(own).__name__}'
        part.warning(
            f'{path}: {len(stray)} of {len(annotations)} annotations name an unlisted {kind} ({key} '
            f'{listing(dict.fromkeys(stray))}; listed: {listing(known)}){types if type(own) is not type(stray[0]) else ""}; '
            'mmdet drops them without a word'
        )


def _check_judgement(part: CheckedDataset, path: str, data: Data, judgement: Judgement) -> None:
    """What mmdet stops at, what it leaves out, and boxes that can hardly be meant."""
    files = {image['id']: image.get('file_name') for image in data['images']}
    for (reason, key), entries in judgement.stops.items():
        section = 'images' if 'image_id' not in entries[0] else 'annotations'
        bad, total = len(entries), len(data[section])
        shown = f'{key} {reprlib.repr(entries[0].get(key))}' + ('' if key == 'id' else f', id {entries[0]["id"]!r}')
        number = f'none of the {total} {section} can' if bad == total else f'{bad} of {total} {section} cannot'
        part.error(
            f'{path}: {number} be loaded by mmdet: {reason} (the first: {shown})' + _BOX_ONLY * ('masks' in reason)
        )
    for reason, dropped in judgement.dropped.items():
        if reason:
            where = listing(dict.fromkeys(files.get(entry['image_id']) for entry in dropped), limit=3)
            part.warning(f'{path}: {len(dropped)} annotations (in {where}) {reason}')
    if judgement.over:
        where = listing(dict.fromkeys(image.get('file_name', image['id']) for image in judgement.over), limit=3)
        part.warning(
            f'{path}: {len(judgement.over)} boxes reach beyond the edge of their image (in {where}); are they [left, top, '
            'right, bottom] where COCO has [left, top, width, height]?'
        )


def _check_classes(part: CheckedDataset, path: str, data: Data, classes: Sequence[str]) -> None:
    """The categories that mmdet took from the file, in the order of its labels, against the classes expected."""
    where, given = part.where, 'classes' in (part.dataset.get('metainfo') or {})
    by_id = {category['id']: category['name'] for category in data['categories']}
    names = list(by_id.values())
    taken = [by_id[number] for number in part.built.cat_ids]
    if not set(taken) <= set(classes) and len(taken) == len(classes):
        return  # a data set like LVIS, whose class goes by numbers
    in_file, expected = ({name for name in group if isinstance(name, str)} for group in (names, classes))
    missing = [name for name in classes if name not in in_file]  # of 13 thousand in V3Det
    extra = [name for name in names if not isinstance(name, str) or name not in expected]
    source = f'{where}.metainfo.classes' if given else f"the dataset's own classes ({where} has no metainfo.classes)"
    used = {entry['category_id'] for entry in data.get('annotations', ())}
    groups = {category.get('supercategory') for category in data['categories']}
    # Some exporters add a category without annotations that others name as their supercategory.
    parents = [c['name'] for c in data['categories'] if c['id'] not in used and c['name'] in groups - {None}
               and c.get('supercategory') != c['name']]  # fmt: skip
    if missing and (extra or taken != list(classes[: len(taken)])):
        loose = {str(name).strip().casefold(): name for name in extra}
        near = [(name, loose[name.strip().casefold()]) for name in missing if name.strip().casefold() in loose]
        hint = '; '.join(f'{name!r} is {other!r} in the file' for name, other in near[:3])
        kept = [name for name in names if name not in parents]
        part.error(
            f'{path} has {len(names)} categories ({listing(names)}), and {len(missing)} of the {len(classes)} names in '
            f'{source} are not among them: {listing(missing)}'
            + (f'; not expected: {listing(extra)}' if extra else '')
            + (f'. Note that {hint}' if hint else '')
            + '. mmdet would number the labels wrongly or leave objects out. If the file is right, give every dataset '
            f'(train, val, test) metainfo=dict(classes={_tuple(kept)}) and the heads num_classes={len(kept)}'
        )
        return
    if missing:
        part.warning(f'{path} lacks the last {len(missing)} classes of {source}: {listing(missing)}')
    if extra:
        numbers = {category['id'] for category in data['categories'] if category['name'] in extra}
        dropped = sum(entry['category_id'] in numbers for entry in data.get('annotations', ()))
        group = [name for name in extra if name in parents]
        hint = f' ({listing(group)} only groups the others)' if group else ''
        part.warning(
            f'{path}: {len(extra)} categories are not in {source}: {listing(extra)}{hint}; their {dropped} annotations '
            'are left out. Right when training on some of the classes, otherwise add them'
        )
    if len(set(taken)) == len(taken) and taken != list(classes[: len(taken)]):
        first = next(i for i, (a, b) in enumerate(zip(taken, classes, strict=False)) if a != b)
        part.error(
            f'{path} lists its categories in another order than {source}: label {first} is {taken[first]!r} in the file '
            f'and {classes[first]!r} there. mmdet numbers labels in the order of the file, so results would bear the '
            f'wrong names: set metainfo=dict(classes={_tuple(taken)})'
        )


def _tuple(names: Sequence[str]) -> str:
    return repr(tuple(names)) if len(names) <= 20 else '(...)'


def _explain_useless(part: CheckedDataset, path: str, data: Data, judgement: Judgement) -> str:
    """Why no image can be used for training."""
    min_size = (part.dataset.get('filter_cfg') or {}).get('min_size', 0)
    if not data['images']:
        return f'{path} lists no images'
    if 'annotations' not in data:
        return f"{path}: the list 'annotations' is missing, so there is nothing to learn"
    small = sum(min(record['width'], record['height']) < min_size for record in judgement.loaded)
    flags = [one['ignore_flag'] for record in judgement.loaded for one in record['instances']]
    empty = sum(not record['instances'] for record in judgement.loaded)
    reasons = {
        f'{small} are smaller than min_size={min_size} pixels': small,
        f'{empty} have no annotation of the expected classes that mmdet keeps': empty,
        'annotations are marked "ignore" or have no valid box (see the warnings)': any(
            'ignore' in r for r in judgement.dropped
        ),
        'all annotations are crowds (iscrowd) or ignored, which no detector learns': flags and all(flags),
    }
    why = '; '.join(reason for reason, holds in reasons.items() if holds) or 'mmdet cannot load them'
    return f'{path}: none of its {len(data["images"])} images can be used for training: {why}'


def check_evaluators(cfg: Mapping[str, Any], split: str, parts: Sequence[CheckedDataset], report: Report) -> None:
    """The annotation files of the metrics against those of the data sets of COCO's format."""
    for place, metric in metrics_of(cfg, split):
        if isinstance(metric.get('ann_file'), str) and '://' not in metric['ann_file']:
            _check_metric(cfg, f'{place}.ann_file', metric, parts, partial(report.add, split=split))


def _check_metric(
    cfg: Mapping[str, Any], key: str, metric: Mapping[str, Any], parts: Sequence[CheckedDataset], note: Callable
) -> None:
    path, files = metric['ann_file'], {os.path.realpath(part.ann_file): part for part in parts}
    part = files.get(os.path.realpath(path))
    evaluator = cfg.get(key.partition('.')[0])
    if part and isinstance(evaluator, Mapping) and short_name(evaluator.get('type')) == 'MultiDatasetsEvaluator':
        parts = [part]  # each metric gets the results of one data set
    set_it = option(cfg, key, parts[0].ann_file if parts else 'FILE')
    if not os.path.isfile(path):
        if not part:
            note('error', f'the annotation file of the metric, {path!r}, does not exist; set it: {set_it}')
        return
    kind, _ = registered_class(metric, cfg.get('default_scope'), 'METRICS')
    if not parts or metric.get('format_only') or 'mmdet.CocoMetric' not in ancestors(kind):
        return
    try:
        data = part.content if part else read_coco(path)
    except (AnnotationFileError, OSError) as error:
        note('error', str(error))
        return
    if data is None:
        return  # said of the data set
    if 'mmdet.LVISMetric' not in ancestors(kind):  # which evaluates by its own library
        _check_truth(path, data, key.startswith('val'), note)
    if any(one.images is None for one in parts):
        return
    counted, given = {image['id'] for image in data['images']}, set().union(*(one.images or () for one in parts))
    if not given <= counted:
        note(
            'error',
            f'the metric reads {path!r} and the dataset {listing(one.ann_file for one in parts)}: results would be '
            f'compared with the annotations of other images. Set it: {set_it}',
        )
    elif given < counted:
        some = [f' (indices={reprlib.repr(one.dataset["indices"])})' for one in parts if one.dataset.get('indices')]
        note(
            'warning',
            f'the metric counts all {len(counted)} images of {path!r}, and {listing(one.where for one in parts)} gives '
            f'{len(given)} of them{"".join(some[:1])}: objects of the others count as missed, so that AP is far too low. For '
            f'the AP of those given, name a file of them alone ({key}=FILE) or none: {option(cfg, key, None)}, with '
            "'instances' among meta_keys of PackDetInputs",
        )


def _check_truth(path: str, data: Data, needed: bool, note: Callable) -> None:
    """What COCO's metric needs beyond training."""
    annotations = data.get('annotations', ())
    if needed and 'annotations' not in data:
        note('error', f"{path}: the list 'annotations' is missing, and the metric needs it")
    elif not annotations and data['images']:
        note('warning', f'{path} has no annotations: every AP will be -1')
    if lacking := sum('iscrowd' not in annotation for annotation in annotations):
        note(
            'error',
            f"{path}: the key 'iscrowd' is missing in {lacking} of {len(annotations)} annotations, and COCO's metric "
            'needs it; add "iscrowd": 0',
        )
    if 'info' not in data and _stops_without_info():
        note(
            'error',
            f'{path} has no \'info\', without which this pycocotools stops: add "info": {{}}, or update it to 2.0.11',
        )
    if any(annotation['id'] == 0 for annotation in annotations):
        note(
            'warning',
            f'{path}: an annotation has the id 0, which COCO\'s metric takes for "not matched": that object is never '
            'found, and AP is lower than it should be. Number annotations from 1',
        )


def _stops_without_info() -> bool:
    """Whether pycocotools cannot take results for such a file (2.0.9 and 2.0.10)."""
    from pycocotools.coco import COCO

    api = COCO()
    api.dataset = {'images': []}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            api.loadRes([])
    except KeyError as error:
        return error.args == ('info',)
    except Exception:  # there are no results
        pass
    return False
