"""Faults of a COCO annotation file, in the words of somebody who has to mend them.

Every function yields ``(level, message)`` with level ``'error'`` or ``'warning'``. An error is what would stop mmdet in
the middle of a run or make its result wrong; a warning is what mmdet drops or survives.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from mmswin.data.coco_file import CocoFile
from mmswin.data.image_files import listing

Fault = tuple[str, str]


def _images_of(coco: CocoFile, marked: np.ndarray) -> str:
    """Files of the annotations marked, for a message."""
    indices = dict.fromkeys(coco.image_index[marked].tolist())
    return listing((coco.images[index]['file_name'] for index in indices if index >= 0), limit=3)


def check_ids(coco: CocoFile) -> Iterator[Fault]:
    """Duplicate ids, and annotations whose image or category is not listed."""
    for section, entries in (('image', coco.images), ('annotation', coco.annotations), ('category', coco.categories)):
        counts = Counter(entry['id'] for entry in entries)
        if len(counts) < len(entries):
            repeated = [number for number, count in counts.items() if count > 1]
            yield (
                'error',
                (
                    f'{coco.path}: {len(repeated)} {section} ids occur more than once ({listing(repeated)}); every '
                    f'{section} needs an id of its own (files merged without renumbering?)'
                ),
            )
    names = Counter(coco.category_names)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        yield (
            'error',
            (
                f'{coco.path}: categories of the same name: {listing(repeated)}; mmdet would count each as a class, so '
                'merge or rename them'
            ),
        )

    stray = coco.image_index < 0
    if stray.any():
        example = coco.annotations[int(stray.argmax())]['image_id']
        hint = ''
        if coco.images and type(example) is not type(coco.images[0]['id']):
            hint = (
                f'; image_id is a {type(example).__name__} there and the id of an image a '
                f'{type(coco.images[0]["id"]).__name__}'
            )
        yield (
            'warning',
            (
                f'{coco.path}: {stray.sum()} of {len(stray)} annotations name an image that is not listed (image_id '
                f'{example!r}, for example){hint}; they are ignored'
            ),
        )
    stray = coco.category_index < 0
    if stray.any():
        unknown = dict.fromkeys(coco.annotations[index]['category_id'] for index in np.flatnonzero(stray))
        known = listing((category['id'] for category in coco.categories), limit=12)
        yield (
            'error',
            (
                f'{coco.path}: {stray.sum()} of {len(stray)} annotations have a category_id that is not listed '
                f'({listing(unknown)}; listed: {known}); mmdet would drop them without a word'
            ),
        )


def check_boxes(coco: CocoFile) -> Iterator[Fault]:
    """Boxes that mmdet drops, or that reach over the edge of their image."""
    listed = coco.image_index >= 0
    left_top, extent = coco.boxes[:, :2], coco.boxes[:, 2:]
    size = (
        np.where(listed[:, None], coco.sizes[coco.image_index], np.inf)
        if len(coco.sizes)
        else np.full_like(left_top, np.inf)
    )

    degenerate = (extent <= 0).any(1)
    if degenerate.any():
        yield (
            'warning',
            (
                f'{coco.path}: {degenerate.sum()} boxes have a width or height of zero or less (in '
                f'{_images_of(coco, degenerate)}) and are ignored; COCO boxes are [left, top, width, height]'
            ),
        )
    thin = ~degenerate & (extent < 1).any(1)
    if thin.any():
        yield (
            'warning',
            (
                f'{coco.path}: {thin.sum()} boxes are narrower than a pixel (in {_images_of(coco, thin)}) and are ignored; '
                'coordinates are pixels, not fractions of the image'
            ),
        )
    flat = ~degenerate & ~thin & (coco.areas <= 0)
    if flat.any():
        yield (
            'warning',
            (
                f'{coco.path}: {flat.sum()} annotations have an area of zero or less (in {_images_of(coco, flat)}) and are '
                'ignored'
            ),
        )
    away = ~degenerate & ((left_top >= size) | (left_top + extent <= 0)).any(1)
    if away.any():
        yield (
            'warning',
            (
                f'{coco.path}: {away.sum()} boxes lie wholly outside their image (in {_images_of(coco, away)}) and are '
                'ignored'
            ),
        )
    # Rounding puts many honest boxes a little over the edge; more than a pixel is another matter.
    over = ~degenerate & ~away & ((left_top < -1) | (left_top + extent > size + 1)).any(1)
    if over.any():
        yield (
            'warning',
            (
                f'{coco.path}: {over.sum()} boxes reach beyond the edge of their image (in {_images_of(coco, over)}); are '
                'they [left, top, right, bottom] where COCO has [left, top, width, height]?'
            ),
        )


def check_classes(coco: CocoFile, classes: Sequence[str], given: bool, where: str) -> Iterator[Fault]:
    """The categories of the file against the classes that the dataset expects.

    mmdet keeps the categories whose names are among ``classes`` and numbers its labels in the order of the file, so
    that a missing or moved name gives all later labels the wrong name.

    Args:
        coco: The file.
        classes: Names that the dataset expects.
        given: Whether the configuration names them (otherwise they are the dataset class's own).
        where: The dataset's place in the configuration, such as ``train_dataloader.dataset``.
    """
    names = coco.category_names
    missing = [name for name in classes if name not in names]
    extra = [name for name in names if name not in classes]
    source = f'{where}.metainfo.classes' if given else f"the dataset's own classes ({where} has no metainfo.classes)"
    if missing:
        loose = {name.strip().casefold(): name for name in extra}
        near = [(name, loose[name.strip().casefold()]) for name in missing if name.strip().casefold() in loose]
        hint = '; '.join(f'{name!r} is {other!r} in the file' for name, other in near[:3])
        kept = [name for name in names if name not in _parents(coco)]
        yield (
            'error',
            (
                f'{coco.path} has {len(names)} categories ({listing(names)}), and {len(missing)} of the {len(classes)} '
                f'names in {source} are not among them: {listing(missing)}'
                + (f'; not expected: {listing(extra)}' if extra else '')
                + (f'. Note that {hint}' if hint else '')
                + f'. mmdet would number the labels wrongly. If the file is right, give every dataset (train, val, test) '
                f'metainfo=dict(classes={_tuple(kept)}) and the heads num_classes={len(kept)}'
            ),
        )
        return
    if extra:
        dropped = np.isin(coco.category_index, [names.index(name) for name in extra]).sum()
        parents = [name for name in extra if name in _parents(coco)]
        hint = f' ({listing(parents)} only groups the others)' if parents else ''
        yield (
            'warning',
            (
                f'{coco.path}: {len(extra)} categories are not in {source}: {listing(extra)}{hint}; their {dropped} '
                'annotations are left out. Right when training on some of the classes, otherwise add them'
            ),
        )
    order = [name for name in names if name in classes]
    if len(set(order)) == len(order) and order != list(classes):
        first = next(i for i, (a, b) in enumerate(zip(order, classes, strict=True)) if a != b)
        yield (
            'error',
            (
                f'{coco.path} lists its categories in another order than {source}: label {first} is {order[first]!r} in '
                f'the file and {classes[first]!r} there. mmdet numbers labels in the order of the file, so results would '
                f'bear the wrong names: set metainfo=dict(classes={_tuple(order)})'
            ),
        )


def _parents(coco: CocoFile) -> set[str]:
    """Categories that some exporters add: without annotations, and named by others as their supercategory."""
    used = set(coco.category_index.tolist())
    groups = {other.get('supercategory') for other in coco.categories if other.get('supercategory') != other['name']}
    return {
        category['name']
        for index, category in enumerate(coco.categories)
        if index not in used and category['name'] in groups
    }


def _tuple(names: Sequence[str]) -> str:
    if len(names) > 20:
        return '(...)'
    return '(' + ', '.join(map(repr, names)) + (',)' if len(names) == 1 else ')')


def usable_images(coco: CocoFile, classes: Sequence[str] | None, min_size: int, filter_empty: bool) -> np.ndarray:
    """I flags: images that survive mmdet's filter and hold at least one object to learn (not a crowd)."""
    in_classes = _in_classes(coco, classes) & (coco.image_index >= 0)
    labelled, learnable = (np.zeros(len(coco.images), dtype=bool) for _ in range(2))
    labelled[coco.image_index[in_classes]] = True
    learnable[coco.image_index[in_classes & coco.box_visible & ~coco.crowd]] = True
    large = coco.sizes.min(1) >= min_size if len(coco.sizes) else learnable
    return large & learnable & (labelled | (not filter_empty))


def _in_classes(coco: CocoFile, classes: Sequence[str] | None) -> np.ndarray:
    if classes is None:
        return coco.category_index >= 0
    wanted = [index for index, name in enumerate(coco.category_names) if name in classes]
    return np.isin(coco.category_index, wanted)


def check_usable(coco: CocoFile, classes: Sequence[str] | None, min_size: int, filter_empty: bool) -> Iterator[Fault]:
    """Whether anything is left to train on."""
    if not coco.images:
        yield 'error', f'{coco.path} lists no images'
        return
    if usable_images(coco, classes, min_size, filter_empty).any():
        return
    small = int((coco.sizes.min(1) < min_size).sum())
    in_classes = _in_classes(coco, classes) & (coco.image_index >= 0)
    labelled = len(set(coco.image_index[in_classes].tolist()))
    empty = len(coco.images) - labelled
    plain = in_classes & ~coco.crowd
    reasons = [
        f'{small} are smaller than min_size={min_size} pixels' if small else '',
        f'{empty} have no annotation of the expected classes' if empty else '',
        'all other annotations are crowds (iscrowd), which no detector learns' if labelled and not plain.any() else '',
        'no other annotation has a valid box' if plain.any() and not (plain & coco.box_visible).any() else '',
    ]
    yield (
        'error',
        (
            f'{coco.path}: none of its {len(coco.images)} images can be used for training: '
            + '; '.join(reason for reason in reasons if reason)
        ),
    )


def check_masks(coco: CocoFile, user: str) -> Iterator[Fault]:
    """Whether every annotation that mmdet keeps has a mask.

    Args:
        coco: The file.
        user: What needs the masks, for the message, such as ``model.roi_head.mask_head``.
    """
    kept = np.flatnonzero(coco.box_visible & (coco.category_index >= 0))
    without = sum(1 for index in kept if not coco.annotations[index].get('segmentation'))
    if not without:
        return
    amount = (
        f'none of its {len(kept)} annotations has a segmentation'
        if without == len(kept)
        else f'{without} of its {len(kept)} annotations have no segmentation'
    )
    yield (
        'error',
        (
            f'{coco.path}: {amount}, and {user} needs masks. Train without masks on the box-only twin '
            '(configs/cascade_rcnn_swin_t_coco.py, configs/faster_rcnn_swin_t_coco.py), or add the masks'
        ),
    )


def check_evaluation(coco: CocoFile) -> Iterator[Fault]:
    """What COCO's metric needs beyond training."""
    if not coco.images:
        yield 'error', f'{coco.path} lists no images'
    elif not coco.annotations and not coco.unlabelled:
        yield 'warning', f'{coco.path} has no annotations: every AP will be -1'
    lacking = sum(1 for annotation in coco.annotations if 'iscrowd' not in annotation)
    if lacking:
        yield (
            'error',
            (
                f"{coco.path}: the key 'iscrowd' is missing in {lacking} of {len(coco.annotations)} annotations, and "
                'COCO\'s metric needs it; add "iscrowd": 0'
            ),
        )
