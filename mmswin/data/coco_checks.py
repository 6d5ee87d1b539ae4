"""Faults of a COCO annotation file, in the words of somebody who has to fix them; see :mod:`mmswin.data.annotations`."""

import os
import reprlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mmswin.data.annotations import AnnotationFileError, Judgement, judge, read_coco
from mmswin.data.checked_dataset import CheckedDataset, Report
from mmswin.data.config_facts import option
from mmswin.data.label_maps import check_semantic_maps
from mmswin.data.pictures import folder_entries, listing, missing_files, sample, sizes_as_loaded
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
    path = part.facts.ann_file
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
    _check_ids(part, path, data)
    _check_judgement(part, path, data, judgement)
    if classes and data.get('annotations'):
        _check_classes(part, path, data, classes)
    usable = judgement.usable
    if part.training and not usable and not judgement.stops:
        part.useless = _explain_useless(part, path, data, judgement)
    if part.split != 'train':
        _check_evaluation(part, path, data)
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
    gone = dict.fromkeys(missing, 'missing')
    chosen = sample([name for name in said if name not in gone], part.decode)
    sizes, bad = sizes_as_loaded(chosen, part.load, part.decode, said)
    part.check_bad_images(gone | bad, len(said), path)
    wrong = [name for name, size in sizes.items() if size != said[name]]
    if wrong:
        named = listing(
            ('{} has {} x {} pixels and not {} x {}'.format(name, *sizes[name], *said[name]) for name in wrong), limit=3
        )
        part.add(
            'error' if len(wrong) > _ODD_SIZES * len(chosen) else 'warning',
            f'{len(wrong)} of {len(chosen)} pictures looked at have another size (width x height) than {path} says, so '
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
        total = len(data[section])
        shown = f'{key} {reprlib.repr(entries[0].get(key))}' + ('' if key == 'id' else f', id {entries[0]["id"]!r}')
        number = (
            f'none of the {total} {section} can'
            if len(entries) == total
            else f'{len(entries)} of {total} {section} cannot'
        )
        part.error(
            f'{path}: {number} be loaded by mmdet: {reason} (the first: {shown})' + _BOX_ONLY * ('masks' in reason)
        )
    for reason, dropped in judgement.dropped.items():
        if reason:
            where = listing(dict.fromkeys(files.get(entry['image_id']) for entry in dropped), limit=3)
            part.warning(f'{path}: {len(dropped)} annotations (in {where}) {reason}')
    if judgement.over:
        where = listing(dict.fromkeys(image['file_name'] for image in judgement.over), limit=3)
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
    instances = [one for record in judgement.loaded for one in record['instances']]
    empty = sum(not record['instances'] for record in judgement.loaded)
    ignored = any('ignore' in reason for reason in judgement.dropped)
    reasons = [
        f'{small} are smaller than min_size={min_size} pixels' if small else '',
        f'{empty} have no annotation of the expected classes that mmdet keeps' if empty else '',
        'annotations are marked "ignore" or have no valid box (see the warnings)' if ignored else '',
        'all annotations are crowds (iscrowd) or ignored, which no detector learns'
        if instances and all(one['ignore_flag'] for one in instances)
        else '',
    ]
    return f'{path}: none of its {len(data["images"])} images can be used for training: ' + (
        '; '.join(filter(None, reasons)) or 'mmdet cannot load them'
    )


def _check_evaluation(part: CheckedDataset, path: str, data: Data) -> None:
    """What COCO's metric needs beyond training."""
    annotations = data.get('annotations', ())
    if not data['images']:
        part.error(f'{path} lists no images')
    elif 'annotations' not in data and part.split == 'val':
        part.error(f"{path}: the list 'annotations' is missing, and the metric needs it")
    elif not annotations and 'annotations' in data:
        part.warning(f'{path} has no annotations: every AP will be -1')
    if lacking := sum('iscrowd' not in annotation for annotation in annotations):
        part.error(
            f"{path}: the key 'iscrowd' is missing in {lacking} of {len(annotations)} annotations, and COCO's metric "
            'needs it; add "iscrowd": 0'
        )
    if any(annotation['id'] == 0 for annotation in annotations):
        part.warning(
            f'{path}: an annotation has the id 0, which COCO\'s metric takes for "not matched": that object is never '
            'found, and AP is lower than it should be. Number annotations from 1'
        )


def check_evaluators(cfg: Mapping[str, Any], split: str, paths: Sequence[str], report: Report) -> None:
    """The metric's annotation file against those of the datasets."""
    evaluators = cfg.get(f'{split}_evaluator') or ()
    many = not isinstance(evaluators, Mapping)
    for index, evaluator in enumerate(evaluators if many else [evaluators]):
        path = evaluator.get('ann_file') if isinstance(evaluator, Mapping) else None
        if not isinstance(path, str) or '://' in path:
            continue
        key = f'{split}_evaluator.{index}.ann_file' if many else f'{split}_evaluator.ann_file'
        local = [other for other in paths if other]
        advice = option(cfg, key, local[0] if local else 'FILE')
        if not os.path.isfile(path):
            if path not in map(os.path.normpath, local) and path not in local:
                text = f'the annotation file of the metric, {path!r}, does not exist; set it: {advice}'
                report.add('error', text, split)
        elif local and os.path.realpath(path) not in map(os.path.realpath, local) and not _same_images(path, local[0]):
            text = f'the metric reads {path!r} and the dataset {listing(local)}: results would be compared with the '
            report.add('error', f'{text}annotations of other images. Set it: {advice}', split)


def _same_images(path: str, other: str) -> bool:
    """Whether an annotation file holds the images of another (or that cannot be said)."""
    try:
        known, wanted = ({image['id'] for image in read_coco(name)['images']} for name in (path, other))
    except (AnnotationFileError, OSError):
        return True  # said of the dataset
    return wanted <= known
