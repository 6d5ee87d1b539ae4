"""Toy data in the real layouts of COCO and of ADE20K: small synthetic images with exact labels; nothing is fetched.

    COCO      ROOT/annotations/instances_{train,val}2017.json      ROOT/{train,val}2017/000000000001.jpg ...
              ROOT/stuffthingmaps/{train,val}2017/000000000001.png ...
    ADE20K    ROOT/{images,annotations}/{training,validation}/ADE_{train,val}_00000001.{jpg,png} ...

As in COCO, category numbers have gaps, image sides differ, some images are grey or hold no object, and groups of small
objects are one ``iscrowd`` annotation with a run-length mask. As in the label maps of COCO-stuff, an object's label is its
category's number less 1, and what lies behind everything is "ground-other". As in ADE20K, label 0 is "not labelled" (the
groups), and the classes are numbered from 1, which is what lies behind everything.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

MARKER = 'miniature.json'
SPLITS = ('train', 'val')
DEFAULT_CLASSES = ('circle', 'square', 'triangle', 'star', 'cross')
GROUND = 'ground'
Progress = Callable[[int, int], None]
# Raised when the same settings would give other images, so that an older data set is not taken for this one.
_VERSION = 3
# What each kind consists of; the word that stands for all of its classes.
_PARTS = {
    'COCO': ('annotations', 'train2017', 'val2017', 'stuffthingmaps/train2017', 'stuffthingmaps/val2017'),
    'ADE20K': ('images', 'annotations'),
}
_ALL = {'COCO': 'coco', 'ADE20K': 'ade'}
_FOLDERS = {'train': 'training', 'val': 'validation'}
# COCO-stuff's number of "ground-other" less 1.
_GROUND_OTHER = 125
# COCO's 80 categories are numbered from 1 to 90 with these left out.
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
# How often an object has the hue of its class: without such help a transformer needs far more than minutes to learn.
_OWN_HUE = 0.9
# Shapes are drawn on a canvas this many times finer and averaged down: exact to a quarter of a pixel.
_FINER = 4


class MiniatureError(ValueError):
    """The settings make no data set, or the directory is not one that may be written to."""


def _regular(corners: int, radii: Sequence[float] = (1.0,)) -> np.ndarray:
    """Corners around the unit circle, at radii that take turns."""
    angles = np.arange(corners) * 2 * np.pi / corners
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.resize(radii, corners)[:, None]


# Outline of each form within the unit circle, as N x 2 points (x, y).
FORMS: dict[str, np.ndarray] = {
    'circle': _regular(40),
    'square': _regular(4),
    'triangle': _regular(3),
    'star': _regular(10, (1.0, 0.42)),
    'cross': _regular(12, (0.45, 1.0, 1.0)),
    'crescent': np.concatenate([_regular(40)[5:36], (_regular(40) * 0.85 + (0.4, 0))[32:8:-1]]),
    'arrow': np.array([(1, 0), (0.1, 0.8), (0.1, 0.3), (-0.9, 0.3), (-0.9, -0.3), (0.1, -0.3), (0.1, -0.8)]),
    'hexagon': _regular(6),
}


@dataclass(frozen=True)
class MiniatureSettings:
    """What a toy data set is made from.

    Attributes:
        num_train, num_val: Numbers of images.
        image_size: Length of the longer side in pixels; the shorter is 3/4 of it, or the same.
        seed: Image number i of a split depends on the seed, the split and i alone.
        classes: Forms to draw (see ``FORMS``), or ``('coco',)`` for COCO's own 80 categories and ``('ade',)`` for
            ADE20K's 150 classes, each drawn as one form in one hue, so that configurations run on it unchanged.
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

    def names(self, kind: str) -> tuple[str, ...]:
        """Names of the classes in the order of the labels, in a data set of this kind (``'COCO'`` or ``'ADE20K'``).

        Raises:
            MiniatureError: The classes are neither different forms nor the word for all classes of this kind.
        """
        if self.classes == (_ALL[kind],):
            if kind == 'COCO':
                from mmdet.datasets import CocoDataset as Dataset  # only here: the generator itself needs neither
            else:
                from mmseg.datasets import ADE20KDataset as Dataset
            return tuple(Dataset.METAINFO['classes'])
        unknown = set(self.classes) - set(FORMS)
        if unknown or not self.classes or len(set(self.classes)) != len(self.classes):
            raise MiniatureError(
                f'classes={list(self.classes)}: give one or more different forms of {", ".join(FORMS)}, or {_ALL[kind]}'
            )
        return self.classes if kind == 'COCO' else (GROUND, *self.classes)


@dataclass(frozen=True)
class Thing:
    """One object, or a group of small ones of one form.

    Attributes:
        label: Which of the forms drawn, from 0.
        outlines: Polygons as N x 2 points (x, y) in pixels; several for a group.
    """

    label: int
    outlines: list[np.ndarray]


def _outline(rng: Generator, form: str, centre: np.ndarray, radius: float) -> np.ndarray:
    """A form inside a circle, turned and stretched at random."""
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (FORMS[form] * (radius, radius * stretch)) @ turn + centre


def _covered(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """How much of each pixel a polygon covers, 0 to 1."""
    canvas = np.zeros((height * _FINER, width * _FINER), np.uint8)
    cv2.fillPoly(canvas, [np.round(outline * _FINER - 0.5).astype(np.int32)], 255)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) / 255.0


def _ground(rng: Generator, height: int, width: int) -> np.ndarray:
    """Clouds, lines and grain as float RGB, height x width x 3, 0 to 255."""
    base = rng.uniform(50, 205) + rng.normal(0, 20, 3)
    image = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    for cells in (2, 5, 12):
        # Light varies more than colour does.
        coarse = (rng.normal(0, 50, (cells, cells, 1)) + rng.normal(0, 20, (cells, cells, 3))) / cells**0.7
        image = image + cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.ascontiguousarray(image)
    for _ in range(int(rng.integers(0, 7))):
        start, stop = (tuple(int(v) for v in rng.uniform(0, 1, 2) * (width, height)) for _ in range(2))
        cv2.line(image, start, stop, (base + rng.normal(0, 40, 3)).tolist(), int(rng.integers(1, 4)), cv2.LINE_AA)
    return image + rng.normal(0, rng.uniform(2, 10), image.shape).astype(np.float32)


def make_scene(settings: MiniatureSettings, split: str, index: int, number: int) -> tuple[np.ndarray, list[Thing]]:
    """One image of a split.

    Args:
        settings: What the data set is made from.
        split: ``'train'`` or ``'val'``.
        index: Number of the image within the split, from 0.
        number: How many labels there are; label i has form i, counted round.

    Returns:
        The image, uint8 RGB of height x width x 3, and what is in it; nothing covers anything else.
    """
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    forms = list(FORMS) if len(settings.classes) == 1 and settings.classes[0] not in FORMS else list(settings.classes)
    short, longer = round(settings.image_size * 0.75), settings.image_size
    height, width = ((short, longer), (longer, short), (longer, longer))[int(rng.choice(3, p=(0.5, 0.25, 0.25)))]
    image, side = _ground(rng, height, width), min(height, width)
    things: list[Thing] = []
    circles: list[tuple[np.ndarray, float]] = []
    singles = 0 if rng.uniform() < 0.02 else int(rng.integers(1, 6))
    for group in [True] * bool(rng.uniform() < 0.1) + [False] * singles:
        label, radius = int(rng.integers(number)), side * rng.uniform(0.1, 0.27)
        for _ in range(20):
            centre = rng.uniform(radius, (width - radius, height - radius))
            if all(np.hypot(*(centre - other)) > radius + beyond for other, beyond in circles):
                break
        else:
            continue
        circles.append((centre, radius))
        form = forms[label % len(forms)]
        if group:
            spots = centre + rng.uniform(-0.5, 0.5, (int(rng.integers(6, 12)), 2)) * radius
            things.append(Thing(label, [_outline(rng, form, spot, max(radius / 4, 2)) for spot in spots]))
        else:
            things.append(Thing(label, [_outline(rng, form, centre, radius)]))
    for thing in things:
        hue = thing.label // len(forms) / -(-number // len(forms)) if number > len(forms) else thing.label / number
        for outline in thing.outlines:
            own = (hue + rng.normal(0, 0.02)) % 1 if rng.uniform() < _OWN_HUE else rng.uniform()
            hsv = np.array([[[own * 179, rng.uniform(130, 255), rng.uniform(130, 255)]]], np.uint8)
            colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(float)
            alpha = _covered(outline, height, width)[..., None]
            image = image * (1 - alpha) + colour * np.linspace(*rng.uniform(0.8, 1.2, 2), width)[:, None] * alpha
    if rng.uniform() < 0.02:
        image[:] = image.mean(axis=2, keepdims=True)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), things


def _annotation(thing: Thing, height: int, width: int) -> dict[str, Any]:
    """Polygon, area and box of a single object; of a group, the run lengths as COCO's files have them."""
    if len(thing.outlines) == 1:
        points = np.round(thing.outlines[0], 2)
        box: Sequence[float] = [*points.min(axis=0), *np.ptp(points, axis=0)]
        x, y = points.T
        area, crowd = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2, 0
        segmentation: Any = [points.ravel().tolist()]
    else:
        mask = np.max([_covered(outline, height, width) for outline in thing.outlines], axis=0) >= 0.5
        area, crowd, box = mask.sum(), 1, cv2.boundingRect(mask.astype(np.uint8))
        # Column by column, beginning with zeros.
        changes = np.flatnonzero(np.diff(mask.ravel(order='F'), prepend=False))
        counts = np.diff(changes, prepend=0, append=mask.size).tolist()
        segmentation = {'counts': counts, 'size': [height, width]}
    box = [round(float(value), 2) for value in box]
    return {'segmentation': segmentation, 'area': round(float(area), 4), 'iscrowd': crowd, 'bbox': box}


def _label_map(
    things: Sequence[Thing], label: Callable[[Thing], int], ground: int, size: tuple[int, int]
) -> np.ndarray:
    """Labels of what is there, height x width, and of the ground."""
    labels = np.full(size, ground, np.uint8)
    for thing in things:
        for outline in thing.outlines:
            labels[_covered(outline, *size) >= 0.5] = label(thing)
    return labels


def _write(path: Path, pixels: np.ndarray) -> None:
    if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == '.jpg' else []):
        raise OSError(f'{path} could not be written')


def _write_coco(root: Path, settings: MiniatureSettings, split: str, names: Sequence[str]) -> Iterator[None]:
    every = settings.classes == (_ALL['COCO'],)
    # Numbers 2, 5, 8, ...: code that takes a category's number for its index goes wrong here as it would on COCO.
    numbers = [n for n in range(1, 91) if n not in _COCO_GAPS] if every else [3 * i + 2 for i in range(len(names))]
    categories = [{'supercategory': 'object', 'id': n, 'name': name} for n, name in zip(numbers, names, strict=True)]
    first, count = (1, settings.num_train) if split == 'train' else (1 + settings.num_train, settings.num_val)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        pixels, things = make_scene(settings, split, index, len(names))
        (height, width), number = pixels.shape[:2], first + index
        name = f'{number:012d}.jpg'
        grey = bool((pixels == pixels[..., :1]).all())
        _write(root / f'{split}2017' / name, pixels[..., 0] if grey else pixels[..., ::-1])
        labels = _label_map(things, lambda thing: numbers[thing.label] - 1, _GROUND_OTHER, (height, width))
        _write(root / 'stuffthingmaps' / f'{split}2017' / f'{number:012d}.png', labels)
        blank = {'license': 1, 'coco_url': '', 'flickr_url': '', 'date_captured': '2017-01-01 00:00:00'}
        images.append({**blank, 'file_name': name, 'height': height, 'width': width, 'id': number})
        for thing in things:
            owner = {'image_id': number, 'category_id': numbers[thing.label], 'id': first * 1000 + len(annotations)}
            annotations.append({**_annotation(thing, height, width), **owner})
        yield
    url = 'https://creativecommons.org/publicdomain/zero/1.0/'
    content = {
        'info': {'description': 'Miniature COCO, synthetic', 'url': '', 'version': '1.0', 'year': 2017,
                 'contributor': 'mmswin', 'date_created': '2017/01/01'},
        'licenses': [{'id': 1, 'name': 'Public domain', 'url': url}],
        'images': images, 'annotations': annotations, 'categories': categories,
    }  # fmt: skip
    path = root / 'annotations' / f'instances_{split}2017.json'
    path.write_text(json.dumps(content))


def _write_ade(root: Path, settings: MiniatureSettings, split: str, names: Sequence[str]) -> Iterator[None]:
    for index in range(settings.num_train if split == 'train' else settings.num_val):
        pixels, things = make_scene(settings, split, index, len(names) - 1)
        labels = _label_map(things, lambda one: one.label + 2 if len(one.outlines) == 1 else 0, 1, pixels.shape[:2])
        name = f'ADE_{split}_{index + 1:08d}'
        _write(root / 'images' / _FOLDERS[split] / f'{name}.jpg', pixels[..., ::-1])
        _write(root / 'annotations' / _FOLDERS[split] / f'{name}.png', labels)
        yield


def _marker(kind: str, settings: MiniatureSettings, complete: bool) -> str:
    return json.dumps({**asdict(settings), 'kind': kind, 'version': _VERSION, 'complete': complete}, indent=1) + '\n'


def is_complete(root: str | Path, settings: MiniatureSettings, kind: str) -> bool:
    """Whether ``root`` holds the whole data set of this kind and these very settings."""
    root = Path(root)
    marker = root / MARKER
    if not marker.is_file() or marker.read_text() != _marker(kind, settings, complete=True):
        return False
    pictures = 'images/*/*.jpg' if kind == 'ADE20K' else '*2017/*.jpg'
    return len(list(root.glob(pictures))) == settings.num_train + settings.num_val


def _claim(root: Path, kind: str, force: bool) -> None:
    """Make the directory, empty of an earlier data set of this kind if ``force`` is given."""
    if root.exists() and not root.is_dir():
        raise MiniatureError(f'{root} is a file; give a directory for the data set')
    if root.is_dir() and any(root.iterdir()):
        if not (root / MARKER).is_file():
            raise MiniatureError(
                f'{root} is not empty and was not made by this generator (no {MARKER} in it); nothing was written. '
                'Give another directory, or move its content away'
            )
        try:
            found = json.loads((root / MARKER).read_text()).get('kind', 'COCO')
        except (ValueError, AttributeError):
            found = 'data set of which the marker is damaged'
        if found != kind:
            raise MiniatureError(f'{root} holds a miniature {found}, not a miniature {kind}; give another directory')
        if not force:
            raise MiniatureError(
                f'{root} holds a miniature {kind} already; give --force to replace it, or another directory'
            )
    for part in _PARTS[kind]:
        shutil.rmtree(root / part, ignore_errors=True)
        for folder in [''] if kind == 'COCO' else _FOLDERS.values():
            (root / part / folder).mkdir(parents=True)


def make_miniature(
    kind: str,
    root: str | Path,
    settings: MiniatureSettings | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write a toy data set.

    Args:
        kind: ``'COCO'``, or ``'ADE20K'``, whose ``root`` stands for the directory ``ADEChallengeData2016``.
        root: The directory; made if need be.
        settings: What to make; the defaults give 400 + 80 images of 128 pixels and five forms.
        force: Replace a toy data set of this kind that is there. A directory with other content is never touched.
        progress: Called after each image with the number done and the number in all.

    Returns:
        ``root`` as a path.

    Raises:
        MiniatureError: ``root`` is a file, holds something that was not made here, or holds a toy data set and
            ``force`` is not given; or the classes are not of this kind.
    """
    settings, root = settings or MiniatureSettings(), Path(root)
    names, total, done = settings.names(kind), settings.num_train + settings.num_val, 0
    _claim(root, kind, force)

    # Written first and completed last: what an interrupted run leaves is known as ours, and as incomplete.
    (root / MARKER).write_text(_marker(kind, settings, complete=False))
    for split in SPLITS:
        for _ in (_write_coco if kind == 'COCO' else _write_ade)(root, settings, split, names):
            done += 1
            if progress is not None:
                progress(done, total)
    (root / MARKER).write_text(_marker(kind, settings, complete=True))
    return root
