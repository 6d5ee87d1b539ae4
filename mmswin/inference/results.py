"""What was found in a picture, and what it can become: a drawing, COCO's json, a label map, detections of supervision."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmswin.atomic import write
from mmswin.errors import RunError, nearest


class Mask(NamedTuple):
    """The mask of one object, no larger than it is: ``pixels`` (``h x w``, bool) lie at (top, left) of the picture."""

    top: int
    left: int
    pixels: np.ndarray

    @classmethod
    def cut(cls, pixels: np.ndarray) -> Mask:
        """From a mask of the whole picture."""
        left, top, width, height = cv2.boundingRect(pixels.astype(np.uint8))
        return cls(top, left, pixels[top : top + height, left : left + width].astype(bool))

    @classmethod
    def union(cls, masks: Sequence[Mask]) -> Mask:
        """One mask of several; without any pixels where they have none."""
        masks = [mask for mask in masks if mask.pixels.size]
        if not masks:
            return cls(0, 0, np.zeros((0, 0), bool))
        top, left = min(mask.top for mask in masks), min(mask.left for mask in masks)
        bottom = max(mask.top + mask.pixels.shape[0] for mask in masks)
        pixels = np.zeros((bottom - top, max(mask.left + mask.pixels.shape[1] for mask in masks) - left), bool)
        for mask in masks:
            mask.inside(pixels, top, left)[...] |= mask.pixels
        return cls(top, left, pixels)

    def inside(self, picture: np.ndarray, top: int = 0, left: int = 0) -> np.ndarray:
        """The part of a picture, whose corner lies at (top, left), that ``pixels`` belong to, as a view."""
        height, width = self.pixels.shape
        return picture[self.top - top : self.top - top + height, self.left - left : self.left - left + width]

    def rle(self, height: int, width: int) -> dict[str, Any]:
        """COCO's run lengths, in its packed form; made without the whole picture's mask."""
        from pycocotools import mask as coco_mask

        columns, rows = np.nonzero(self.pixels.T)
        places = (columns + self.left) * height + rows + self.top
        begins = places[np.flatnonzero(np.diff(places, prepend=-2) != 1)]
        ends = places[np.flatnonzero(np.diff(places, append=-2) != 1)] + 1
        edges = np.column_stack([begins, ends]).ravel()
        runs = np.diff(np.concatenate([[0], edges, [height * width]]))
        runs = runs if runs[-1] else runs[:-1]
        packed = coco_mask.frPyObjects({'counts': runs.tolist(), 'size': [height, width]}, height, width)
        return {'size': [height, width], 'counts': packed['counts'].decode()}


@dataclass
class Instances:
    """Objects found.

    Attributes:
        boxes: ``n x 4`` float32, left, top, right, bottom in pixels.
        scores: ``n`` float32.
        labels: ``n`` int64.
        masks: One for each, or None without masks.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[Mask] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: Any) -> Instances:
        indices = np.atleast_1d(np.arange(len(self))[chosen])
        masks = None if self.masks is None else [self.masks[i] for i in indices]
        return Instances(self.boxes[indices], self.scores[indices], self.labels[indices], masks)

    def sorted(self) -> Instances:
        """Best first."""
        return self[np.argsort(-self.scores, kind='stable')]

    def moved(self, top: int, left: int) -> Instances:
        """In a picture of which this one is a tile at (top, left)."""
        masks = self.masks and [Mask(mask.top + top, mask.left + left, mask.pixels) for mask in self.masks]
        return dataclasses.replace(self, boxes=self.boxes + np.array([left, top] * 2, np.float32), masks=masks)

    @classmethod
    def concatenate(cls, parts: Sequence[Instances]) -> Instances:
        """All of one or more in a row."""
        columns = [np.concatenate([getattr(part, name) for part in parts]) for name in ('boxes', 'scores', 'labels')]
        lists = [part.masks for part in parts]
        masks = None if None in lists else [mask for one in lists for mask in one]
        return cls(*columns, masks)


class Scores(NamedTuple):
    """Of a whole picture: the probability of each class, float32."""

    values: np.ndarray


@dataclass
class Result:
    """What was found in one picture.

    Attributes:
        image: The picture, ``H x W x 3`` in BGR, uint8.
        name: What files of it are called: its path below the source, without suffix.
        classes: Names of the labels.
        palette: A colour (red, green, blue) for each class.
        path: The file; None for an array or a camera.
        instances: Objects, for detection and instance segmentation.
        label_map: The class of each pixel, ``H x W``, for semantic segmentation; the largest value of its type where
            there is none.
        scores: The probability of each class, for classification of whole pictures.
        video: The name of the video that the picture is a frame of.
        fps: Frames a second of that, 0 where it is not known.
    """

    image: np.ndarray
    name: str
    classes: Sequence[str]
    palette: Sequence[tuple[int, int, int]]
    path: str | None = None
    instances: Instances | None = None
    label_map: np.ndarray | None = None
    scores: np.ndarray | None = None
    video: str | None = None
    fps: float = 0.0

    def __len__(self) -> int:
        """How many objects, or classes of pixels, were found; 1 of a whole picture."""
        return len(self.counts()) if self.instances is None else len(self.instances)

    def counts(self) -> dict[str, int]:
        """Class names to how many objects, or pixels, of them were found, the commonest first; a picture's class to 1."""
        if self.scores is not None:
            return {name: 1 for name, _ in self.best(1)}
        found = self.label_map if self.instances is None else self.instances.labels
        number = len(self.classes)  # row by row: bincount makes 8 bytes of each value
        numbers = sum(np.bincount(row, minlength=number)[:number] for row in np.atleast_2d(found))
        return {self.classes[i]: int(numbers[i]) for i in np.argsort(-numbers, kind='stable') if numbers[i]}

    def best(self, number: int = 5) -> list[tuple[str, float]]:
        """The likeliest classes of a whole picture with their probabilities, best first; those of probability 0 left out."""
        if self.scores is None:
            raise RunError('only a result of classification has a score for each class')
        return [(self.classes[i], float(self.scores[i])) for i in self.best_labels(number)]

    def best_labels(self, number: int = 5) -> list[int]:
        """The labels of :meth:`best`; two classes may have one name."""
        return [int(i) for i in np.argsort(-self.scores, kind='stable')[:number] if self.scores[i] > 0]

    def filter(self, score: float = 0.0, classes: Sequence[str | int] | None = None) -> Result:
        """The same with less in it.

        Args:
            score: Objects below it are left out, and classes of a whole picture; a label map has no scores.
            classes: Names or labels of those to keep; by default all.

        Raises:
            RunError: There is no such class.
        """
        kept = range(len(self.classes)) if classes is None else [i for name in classes for i in self._labels(name)]
        if self.scores is not None:
            keeps = np.isin(np.arange(len(self.classes)), kept) & (self.scores >= score)
            return dataclasses.replace(self, scores=np.where(keeps, self.scores, np.float32(0)))
        if self.instances is None:
            nothing = np.iinfo(self.label_map.dtype).max
            return dataclasses.replace(self, label_map=np.where(np.isin(self.label_map, kept), self.label_map, nothing))
        chosen = (self.instances.scores >= score) & np.isin(self.instances.labels, kept)
        return dataclasses.replace(self, instances=self.instances[chosen])

    def _labels(self, name: str | int) -> list[int]:
        labels = [i for i, known in enumerate(self.classes) if name in (i, known)]
        if not labels:
            raise RunError(
                f'there is no class {name!r}{nearest(str(name), self.classes)}; there are {", ".join(self.classes)}'
            )
        return labels

    def draw(self) -> np.ndarray:
        """The picture with boxes, masks and names, in BGR, uint8; a small one is enlarged so that names can be read.

        A classified one bears the names of its three likeliest classes.
        """
        from mmswin.inference import drawing

        canvas, zoom = drawing.canvas(self.image)
        if self.scores is not None:
            return drawing.draw_classes(canvas, self.best(3), self.classes, self.palette)
        if self.instances is not None:
            return drawing.draw_instances(canvas, self.instances, self.classes, self.palette, zoom)
        return drawing.draw_labels(canvas, self.label_map, self.classes, self.palette)

    def save(self, path: str | Path, overwrite: bool = False) -> None:
        """Draw into a file.

        Args:
            path: Of an image; its suffix says of which kind.
            overwrite: Also over a file that is there.

        Raises:
            RunError: It exists, or has no suffix of an image.
            SavingError: It cannot be written.
        """
        write_image(path, self.draw(), overwrite)

    def save_labels(self, path: str | Path, overwrite: bool = False) -> None:
        """Save the label map as a grey PNG whose values are labels; otherwise as :meth:`save`."""
        if self.label_map is None:
            raise RunError('only a result of semantic segmentation has a label map')
        if Path(path).suffix.lower() != '.png':
            raise RunError(f'{path}: labels are saved exactly, as .png')
        write_image(path, self.label_map, overwrite)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python: name, path, width, height, and what was found.

        That is ``objects`` as COCO writes them, ``pixels`` of each class, or ``class`` and ``scores`` of the best five.
        """
        height, width = self.image.shape[:2]
        facts = {'name': self.name, 'path': self.path, 'width': width, 'height': height}
        if self.scores is not None:
            best = self.best()
            values = dict(best[::-1])  # of two classes of one name the better one's
            scores = {name: round(values[name], 5) for name, _ in best}
            return {**facts, 'class': best[0][0] if best else None, 'scores': scores}
        return {**facts, 'pixels': self.counts()} if self.instances is None else {**facts, 'objects': self.to_coco()}

    def to_coco(self, image_id: int = 1, first_id: int = 1) -> list[dict[str, Any]]:
        """COCO's annotations of the objects, with a ``score`` each; ``category_id`` is the label plus one.

        Args:
            image_id: Of the picture.
            first_id: Of the first annotation.

        Raises:
            RunError: There are no objects, but a label map.
        """
        if self.instances is None:
            raise RunError(
                "COCO's json is for objects; a label map is saved by save_labels(path), classes by to_dict()"
            )
        found, size = self.instances, self.image.shape[:2]
        entries = []
        for i in range(len(found)):
            left, top, right, bottom = (round(float(value), 2) for value in found.boxes[i])
            entry = {
                'id': first_id + i,
                'image_id': image_id,
                'category_id': int(found.labels[i]) + 1,
                'category': self.classes[found.labels[i]],
                'bbox': [left, top, round(right - left, 2), round(bottom - top, 2)],
                'area': round((right - left) * (bottom - top), 2),
                'iscrowd': 0,
                'score': round(float(found.scores[i]), 5),
            }
            if found.masks is not None:
                entry |= {'segmentation': found.masks[i].rle(*size), 'area': int(found.masks[i].pixels.sum())}
            entries.append(entry)
        return entries

    def to_supervision(self) -> Any:
        """The objects as ``supervision.Detections``, for its trackers, zones and annotators; needs that library."""
        if self.instances is None:
            raise RunError('to_supervision() is for detections; this result has none')
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise ImportError('to_supervision() needs supervision: pip install supervision', name=error.name) from error
        found = self.instances
        masks = None
        if found.masks is not None:
            masks = np.zeros((len(found), *self.image.shape[:2]), bool)
            for whole, mask in zip(masks, found.masks):
                mask.inside(whole)[...] = mask.pixels
        names = np.array([self.classes[label] for label in found.labels], dtype=str)
        return supervision.Detections(
            xyxy=found.boxes, mask=masks, confidence=found.scores, class_id=found.labels, data={'class_name': names}
        )


def write_image(path: str | Path, image: np.ndarray, overwrite: bool = False) -> None:
    """Write an image file at once, see :meth:`Result.save`."""
    path = Path(path)
    if os.path.exists(path) and not overwrite:
        raise RunError(f'{path} exists; choose another name, or say overwrite=True')
    try:
        done, content = cv2.imencode(path.suffix, image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    except cv2.error:
        done = False
    if not done:
        raise RunError(
            f'{path}: {path.suffix or "no suffix"} is no kind of image that can be written; use .jpg or .png'
        )
    write(path, content.tobytes())
