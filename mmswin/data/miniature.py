"""A miniature COCO in the real layout: small synthetic images with exact boxes, polygons and crowds.

    ROOT/annotations/instances_train2017.json   ROOT/train2017/000000000001.jpg ...
    ROOT/annotations/instances_val2017.json     ROOT/val2017/...

Everything follows from the settings and the seed; nothing is fetched.  As in COCO, category numbers have gaps, image
sides differ, some images are grey or hold no object, objects cover one another, and groups of small objects are one
``iscrowd`` annotation with a run-length mask.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from shapely.geometry import Polygon

from mmswin.data.miniature_drawing import FORMS, Shape, background, crowd, draw, place, random_size, visible_parts
from mmswin.data.miniature_folder import MARKER, MiniatureError, claim

SPLITS = ('train', 'val')
DEFAULT_CLASSES = ('circle', 'square', 'triangle', 'star', 'cross')
# COCO's 80 categories are numbered from 1 to 90 with these left out.
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
# Raised when the same settings would give other images, so that an older data set is not taken for this one.
_VERSION = 1
_LICENSE = {'id': 1, 'name': 'Public domain', 'url': 'https://creativecommons.org/publicdomain/zero/1.0/'}


@dataclass(frozen=True)
class MiniatureSettings:
    """What a miniature COCO is made from.

    Attributes:
        num_train: Number of training images.
        num_val: Number of validation images.
        image_size: Length of the longer side in pixels; the shorter is 3/4 of it, or the same.
        seed: Image number i of a split depends on the seed, the split and i alone.
        classes: Forms to draw (see ``FORMS``), or ``('coco',)`` for COCO's own 80 category names and numbers, each
            drawn as one form in one hue, so that configurations for COCO run on it unchanged.
    """

    num_train: int = 400
    num_val: int = 80
    image_size: int = 128
    seed: int = 0
    classes: tuple[str, ...] = DEFAULT_CLASSES

    def __post_init__(self) -> None:
        object.__setattr__(self, 'classes', tuple(self.classes))
        if self.num_train < 1 or self.num_val < 1:
            raise MiniatureError(f'both splits need an image: num_train={self.num_train}, num_val={self.num_val}')
        if self.image_size < 32:
            raise MiniatureError(f'image_size={self.image_size} leaves no room for objects; give 32 or more')
        if self.seed < 0:
            raise MiniatureError(f'seed={self.seed} is negative; give 0 or more')
        if self.classes == ('coco',):
            return
        unknown = [name for name in self.classes if name not in FORMS]
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            raise MiniatureError(
                f'classes={list(self.classes)}: give one or more different forms of {", ".join(FORMS)}, or coco'
            )


@dataclass(frozen=True)
class _Category:
    number: int
    name: str
    form: str
    hue: float


def _categories(settings: MiniatureSettings) -> list[_Category]:
    if settings.classes == ('coco',):
        from mmdet.datasets import CocoDataset  # only here: the generator itself needs no mmdet

        forms = list(FORMS)
        numbers = [number for number in range(1, 91) if number not in _COCO_GAPS]
        names = CocoDataset.METAINFO['classes']
        return [
            _Category(number, name, forms[i % len(forms)], (i // len(forms)) / 10)
            for i, (number, name) in enumerate(zip(numbers, names, strict=True))
        ]
    # Numbers 2, 5, 8, ...: code that takes a category's number for its index goes wrong here as it would on COCO.
    return [_Category(3 * i + 2, name, name, i / len(settings.classes)) for i, name in enumerate(settings.classes)]


def _rounded(polygon: Polygon) -> list[float]:
    return [round(float(value), 2) for point in polygon.exterior.coords[:-1] for value in point]


def _object_annotation(parts: list[Polygon]) -> dict:
    corners = np.concatenate([np.array(part.exterior.coords) for part in parts])
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return {
        'segmentation': [_rounded(part) for part in parts],
        'area': round(sum(part.area for part in parts), 4),
        'iscrowd': 0,
        'bbox': [round(float(value), 2) for value in (left, top, right - left, bottom - top)],
    }


def _uncompressed(mask: np.ndarray) -> dict:
    """The run lengths of a mask as COCO's files have them: column by column, beginning with zeros."""
    flat = np.concatenate([[0], mask.ravel(order='F'), [0]]).astype(np.int8)
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    if mask.size in changes:
        counts = counts[:-1]
    return {'counts': [int(count) for count in counts], 'size': [int(side) for side in mask.shape]}


def _crowd_annotation(parts: list[Polygon], height: int, width: int) -> dict | None:
    if not parts:
        return None
    runs = coco_mask.frPyObjects([_rounded(part) for part in parts], height, width)
    mask = coco_mask.decode(coco_mask.merge(runs))
    if not mask.any():
        return None
    packed = coco_mask.encode(np.asfortranarray(mask))
    return {
        'segmentation': _uncompressed(mask),
        'area': int(coco_mask.area(packed)),
        'iscrowd': 1,
        'bbox': [float(value) for value in coco_mask.toBbox(packed)],
    }


def make_image(settings: MiniatureSettings, split: str, index: int) -> tuple[np.ndarray, list[dict]]:
    """One image of a split.

    Args:
        settings: What the data set is made from.
        split: ``'train'`` or ``'val'``.
        index: Number of the image within the split, from 0.

    Returns:
        The image, uint8 RGB of height x width x 3, and its annotations (without ``id`` and ``image_id``).
    """
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    height, width = random_size(rng, settings.image_size)
    categories = _categories(settings)
    image = background(rng, height, width)

    groups: list[tuple[_Category, list[Shape]]] = []
    if rng.uniform() < 0.1:
        category = categories[int(rng.integers(len(categories)))]
        groups.append((category, crowd(rng, category.form, category.hue, height, width)))
    # The crowd lies at the bottom and may be covered; single objects see to it that they stay visible.
    singles: list[Shape] = []
    for _ in range(0 if rng.uniform() < 0.02 else int(rng.integers(1, 6))):
        category = categories[int(rng.integers(len(categories)))]
        shape = place(rng, category.form, category.hue, singles, height, width)
        if shape is not None:
            singles.append(shape)
            groups.append((category, [shape]))

    shapes = [shape for _, members in groups for shape in members]
    for shape in shapes:
        draw(image, shape, rng)
    parts = iter(visible_parts([shape.outline for shape in shapes], height, width))
    annotations = []
    for category, members in groups:
        pieces = [piece for _ in members for piece in next(parts)]
        entry = _object_annotation(pieces) if len(members) == 1 else _crowd_annotation(pieces, height, width)
        if entry is not None:
            annotations.append(dict(entry, category_id=category.number))
    if rng.uniform() < 0.02:
        image[:] = image.mean(axis=2, keepdims=True)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), annotations


def _write_split(root: Path, settings: MiniatureSettings, split: str, tick: Callable[[], None]) -> None:
    number = settings.num_train if split == 'train' else settings.num_val
    folder = root / f'{split}2017'
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    first = 1 if split == 'train' else 1 + settings.num_train
    for index in range(number):
        pixels, entries = make_image(settings, split, index)
        name = f'{first + index:012d}.jpg'
        grey = bool((pixels == pixels[..., :1]).all())
        encoded = pixels[..., 0] if grey else pixels[..., ::-1]
        if not cv2.imwrite(str(folder / name), encoded, [cv2.IMWRITE_JPEG_QUALITY, 92]):
            raise OSError(f'{folder / name} could not be written')
        images.append(
            {
                'license': 1,
                'file_name': name,
                'coco_url': '',
                'height': pixels.shape[0],
                'width': pixels.shape[1],
                'date_captured': '2017-01-01 00:00:00',
                'flickr_url': '',
                'id': first + index,
            }
        )
        for entry in entries:
            annotations.append(dict(entry, image_id=first + index, id=first * 1000 + len(annotations)))
        tick()
    content = {
        'info': {
            'description': 'Miniature COCO, synthetic',
            'url': '',
            'version': '1.0',
            'year': 2017,
            'contributor': 'mmswin',
            'date_created': '2017/01/01',
        },
        'licenses': [_LICENSE],
        'images': images,
        'annotations': annotations,
        'categories': [
            {'supercategory': 'form' if c.name == c.form else 'object', 'id': c.number, 'name': c.name}
            for c in _categories(settings)
        ],
    }
    path = root / 'annotations' / f'instances_{split}2017.json'
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def _marker(settings: MiniatureSettings, complete: bool) -> str:
    return json.dumps(dict(asdict(settings), version=_VERSION, complete=complete), indent=1) + '\n'


def is_complete(root: str | Path, settings: MiniatureSettings) -> bool:
    """Whether ``root`` holds the whole data set of these very settings."""
    root = Path(root)
    marker = root / MARKER
    if not marker.is_file() or marker.read_text() != _marker(settings, complete=True):
        return False
    return all(
        (root / 'annotations' / f'instances_{split}2017.json').is_file()
        and len(list((root / f'{split}2017').glob('*.jpg'))) == number
        for split, number in zip(SPLITS, (settings.num_train, settings.num_val), strict=True)
    )


def make_miniature_coco(
    root: str | Path,
    settings: MiniatureSettings | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a miniature COCO under ``root``.

    Args:
        root: The directory; made if need be.
        settings: What to make; the defaults give 400 + 80 images of 128 pixels and five forms.
        force: Replace a miniature COCO that is there.  A directory with other content is never touched.
        progress: Called after each image with the number done and the number in all.

    Returns:
        ``root`` as a path.

    Raises:
        MiniatureError: ``root`` is a file, holds something that was not made here, or holds a miniature COCO and
            ``force`` is not given.
    """
    settings = settings or MiniatureSettings()
    root = claim(root, 'COCO', ('annotations', *(f'{split}2017' for split in SPLITS)), force)
    # Written first and completed last: what an interrupted run leaves is known as ours, and as incomplete.
    (root / MARKER).write_text(_marker(settings, complete=False))
    total, done = settings.num_train + settings.num_val, 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    for split in SPLITS:
        _write_split(root, settings, split, tick)
    (root / MARKER).write_text(_marker(settings, complete=True))
    return root


def ensure_miniature_coco(
    root: str | Path, settings: MiniatureSettings, progress: Callable[[int, int], None] | None = None
) -> bool:
    """Make the data set unless ``root`` holds it already, whole and with these settings.

    Returns:
        True if it was made, False if what was there is used.

    Raises:
        MiniatureError: ``root`` holds something else that was not made here.
    """
    if is_complete(root, settings):
        return False
    make_miniature_coco(root, settings, force=True, progress=progress)
    return True


def parse_classes(names: Sequence[str]) -> tuple[str, ...]:
    """Class names from a command line, where they may be separated by commas or blanks."""
    return tuple(name for word in names for name in word.split(',') if name)
