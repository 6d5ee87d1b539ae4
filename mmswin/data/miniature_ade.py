"""A miniature ADE20K in the layout of its scene parsing benchmark: small synthetic images with exact label maps.

    ROOT/images/training/ADE_train_00000001.jpg ...      ROOT/annotations/training/ADE_train_00000001.png ...
    ROOT/images/validation/ADE_val_00000001.jpg ...      ROOT/annotations/validation/ADE_val_00000001.png ...

The pictures are those of the miniature COCO. As in ADE20K, label 0 is "not labelled", the classes are numbered from 1,
the first is what lies behind everything, and image sides differ. Groups of small objects are not labelled.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mmswin.data.miniature import DEFAULT_CLASSES, SPLITS, MiniatureSettings
from mmswin.data.miniature_drawing import FORMS, Shape, background, coverage, crowd, draw, place, random_size
from mmswin.data.miniature_folder import MARKER, MiniatureError, claim

FOLDERS = {'train': 'training', 'val': 'validation'}
GROUND = 'ground'
NOT_LABELLED = 0
_KIND = 'ADE20K'
# Raised when the same settings would give other images, so that an older data set is not taken for this one.
_VERSION = 1


@dataclass(frozen=True)
class MiniatureAdeSettings(MiniatureSettings):
    """What a miniature ADE20K is made from: the settings of the miniature COCO.

    Attributes:
        classes: Forms to draw (see ``FORMS``), or ``('ade',)`` for the 150 class names of ADE20K, the first of them
            for the ground and each other drawn as one form in one hue, so that configurations for ADE20K run on it
            unchanged.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, 'classes', tuple(self.classes))
        whole = self.classes == ('ade',)
        unknown = [name for name in self.classes if name not in FORMS]
        if unknown and not whole:
            raise MiniatureError(f'classes={list(self.classes)}: give different forms of {", ".join(FORMS)}, or ade')
        MiniatureSettings(
            self.num_train, self.num_val, self.image_size, self.seed, DEFAULT_CLASSES if whole else self.classes
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their numbers, which begin at 1."""
        if self.classes != ('ade',):
            return (GROUND, *self.classes)
        from mmseg.datasets import ADE20KDataset  # only here: the generator itself needs no mmseg

        return tuple(ADE20KDataset.METAINFO['classes'])


@dataclass(frozen=True)
class _Class:
    number: int
    form: str
    hue: float


def _drawn_classes(settings: MiniatureAdeSettings) -> list[_Class]:
    if settings.classes != ('ade',):
        return [_Class(i + 2, form, i / len(settings.classes)) for i, form in enumerate(settings.classes)]
    forms = list(FORMS)
    number = len(settings.names) - 1
    rounds = -(-number // len(forms))
    return [_Class(i + 2, forms[i % len(forms)], (i // len(forms)) / rounds) for i in range(number)]


def make_scene(settings: MiniatureAdeSettings, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """One image of a split.

    Args:
        settings: What the data set is made from.
        split: ``'train'`` or ``'val'``.
        index: Number of the image within the split, from 0.

    Returns:
        The image, uint8 RGB of height x width x 3, and its label map, uint8 of height x width: a pixel belongs to the
        uppermost object that covers half of it or more.
    """
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), index])
    height, width = random_size(rng, settings.image_size)
    classes = _drawn_classes(settings)
    image = background(rng, height, width)
    labels = np.ones((height, width), np.uint8)

    shapes: list[tuple[int, Shape]] = []
    if rng.uniform() < 0.1:
        kind = classes[int(rng.integers(len(classes)))]
        shapes += [(NOT_LABELLED, shape) for shape in crowd(rng, kind.form, kind.hue, height, width)]
    # The crowd lies at the bottom and may be covered; single objects see to it that they stay visible.
    singles: list[Shape] = []
    for _ in range(0 if rng.uniform() < 0.02 else int(rng.integers(1, 6))):
        kind = classes[int(rng.integers(len(classes)))]
        shape = place(rng, kind.form, kind.hue, singles, height, width)
        if shape is not None:
            singles.append(shape)
            shapes.append((kind.number, shape))
    for number, shape in shapes:
        draw(image, shape, rng)
        covered, left, top = coverage(shape, height, width)
        part = labels[top : top + covered.shape[0], left : left + covered.shape[1]]
        part[covered >= 0.5] = number
    if rng.uniform() < 0.02:
        image[:] = image.mean(axis=2, keepdims=True)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), labels


def _number_of(settings: MiniatureAdeSettings, split: str) -> int:
    return settings.num_train if split == 'train' else settings.num_val


def _write(path: Path, pixels: np.ndarray) -> None:
    if not cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92] if path.suffix == '.jpg' else []):
        raise OSError(f'{path} could not be written')


def _marker(settings: MiniatureAdeSettings, complete: bool) -> str:
    content = dict(asdict(settings), kind=_KIND, version=_VERSION, names=settings.names, complete=complete)
    return json.dumps(content, indent=1) + '\n'


def is_complete(root: str | Path, settings: MiniatureAdeSettings) -> bool:
    """Whether ``root`` holds the whole data set of these very settings."""
    root = Path(root)
    marker = root / MARKER
    if not marker.is_file() or marker.read_text() != _marker(settings, complete=True):
        return False
    return all(
        len(list((root / part / FOLDERS[split]).glob(f'*{suffix}'))) == _number_of(settings, split)
        for split in SPLITS
        for part, suffix in (('images', '.jpg'), ('annotations', '.png'))
    )


def make_miniature_ade(
    root: str | Path,
    settings: MiniatureAdeSettings | None = None,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a miniature ADE20K under ``root``, which stands for the directory ``ADEChallengeData2016``.

    Args:
        root: The directory; made if need be.
        settings: What to make; the defaults give 400 + 80 images of 128 pixels, the ground and five forms.
        force: Replace a miniature ADE20K that is there. A directory with other content is never touched.
        progress: Called after each image with the number done and the number in all.

    Returns:
        ``root`` as a path.

    Raises:
        MiniatureError: ``root`` is a file, holds something that was not made here, or holds a miniature ADE20K and
            ``force`` is not given.
    """
    settings = settings or MiniatureAdeSettings()
    root = claim(root, _KIND, ('images', 'annotations'), force)
    # Written first and completed last: what an interrupted run leaves is known as ours, and as incomplete.
    (root / MARKER).write_text(_marker(settings, complete=False))
    done = 0
    for split in SPLITS:
        images, maps = (root / part / FOLDERS[split] for part in ('images', 'annotations'))
        for folder in (images, maps):
            folder.mkdir(parents=True)
        for index in range(_number_of(settings, split)):
            pixels, labels = make_scene(settings, split, index)
            name = f'ADE_{split}_{index + 1:08d}'
            _write(images / f'{name}.jpg', pixels[..., ::-1])
            _write(maps / f'{name}.png', labels)
            done += 1
            if progress is not None:
                progress(done, settings.num_train + settings.num_val)
    (root / MARKER).write_text(_marker(settings, complete=True))
    return root


def ensure_miniature_ade(
    root: str | Path, settings: MiniatureAdeSettings, progress: Callable[[int, int], None] | None = None
) -> bool:
    """Make the data set unless ``root`` holds it already, whole and with these settings.

    Returns:
        True if it was made, False if what was there is used.

    Raises:
        MiniatureError: ``root`` holds something else that was not made here.
    """
    if is_complete(root, settings):
        return False
    make_miniature_ade(root, settings, force=True, progress=progress)
    return True
