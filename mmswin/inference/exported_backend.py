"""A program that ``mmswin export`` has written, run by ONNX Runtime, OpenVINO or torch; neither mmdet nor mmseg is used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np

from mmswin.environment.importable import make_exporters_importable
from mmswin.errors import RunError, plain_message, printable
from mmswin.inference.program_file import open_program
from mmswin.inference.results import Instances, Mask, Scores

SUFFIXES = {'.onnx': 'onnxruntime', '.xml': 'openvino', '.pt2': 'torch'}


def is_program(path: object) -> bool:
    """Whether a name is one of a file that ``mmswin export`` writes."""
    return isinstance(path, (str, Path)) and Path(path).suffix.lower() in SUFFIXES


class ExportedBackend:
    """See :class:`mmswin.inference.predictor.Backend`.

    Args:
        path: Of the program.
        device: ``'cpu'``, or None, which is the same.

    Attributes:
        metadata: What the file says of itself.

    Raises:
        RunError: It cannot be read, gives a backbone's maps, or is for another device.
    """

    def __init__(self, path: str | Path, device: str | None = None) -> None:
        if device not in (None, 'cpu'):
            raise RunError(f'device {device!r}: an exported program runs on the CPU here; leave it out')
        self.metadata, self._run = _open(Path(path))
        facts = self.metadata
        if facts.get('task') not in ('detection', 'segmentation', 'classification'):
            raise RunError(f'{path} gives maps of a backbone: predictions need a program of a whole model')
        self.segments = facts['task'] == 'segmentation'
        self.classes, self.palette = tuple(facts['classes']), facts.get('palette')
        self.reading = facts['reading']

    def __call__(self, images: Sequence[np.ndarray], amp: str | None = None, scores: bool = False) -> list:
        """See :class:`mmswin.inference.predictor.Backend`."""
        if amp is not None:
            raise RunError('an exported program has the precision that it was written with: leave amp out')
        return [self._predict(image, scores) for image in images]

    def _predict(self, image: np.ndarray, scores: bool) -> Any:
        preprocessing, static = self.metadata['preprocessing'], self.metadata['static']
        sized = resize(image, preprocessing, static)
        found = dict(zip(self.metadata['outputs'], self._run(prepare(sized, preprocessing, static))))
        if 'boxes' not in found and not self.segments:
            return Scores(found['scores'][0])
        if self.segments:
            height, width = sized.shape[:2]
            found = {name: value[0, ..., :height, :width] for name, value in found.items()}
            return self._labels(found, image.shape[:2], scores)
        return instances(found, sized.shape[:2], image.shape[:2], self.metadata['facts'].get('mask_threshold'))

    def _labels(self, found: Mapping[str, np.ndarray], size: tuple[int, int], scores: bool) -> np.ndarray:
        kind = np.uint8 if len(self.classes) <= 255 else np.uint16
        if 'labels' in found:
            labels = found['labels'].astype(kind)
            labels = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST)
            if not scores:
                return labels
            return (np.arange(len(self.classes))[:, None, None] == labels).astype(np.float32)
        # Class by class: OpenCV resizes few channels at once.
        values = [cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR) for values in found['logits']]
        return np.stack(values) if scores else np.argmax(values, 0).astype(kind)


def _open(path: Path) -> tuple[dict[str, Any], Any]:
    library = SUFFIXES[path.suffix.lower()]
    if not path.is_file():
        raise RunError(f'{path} does not exist')
    make_exporters_importable(library)
    try:
        return open_program(str(path))
    except ImportError as error:
        raise RunError(f'{path} needs {library} ({error}): pip install {library}') from error
    except Exception as error:  # the library's own words
        raise RunError(f'{path} cannot be opened by {library}: {printable(plain_message(error))}') from error


def resize(image: np.ndarray, preprocessing: Mapping[str, Any], static: Sequence[int] | None = None) -> np.ndarray:
    """A picture at the size that its preprocessing asks for, as mmcv makes it; or no larger than another static size."""
    scale, short, crop = (preprocessing.get(name) for name in ('scale', 'short_side', 'crop'))
    height, width = image.shape[:2]
    fixed = crop or (None if preprocessing['keep_ratio'] else scale)
    if static is not None and (fixed is None or tuple(static) != tuple(fixed[::-1])):
        size, crop = mmcv.rescale_size((width, height), min(static[0] / height, static[1] / width)), None
    elif short is not None:
        size = (short, int(short * height / width)) if width < height else (int(short * width / height), short)
    elif scale is not None and preprocessing['keep_ratio']:
        size = mmcv.rescale_size((width, height), tuple(scale))
    else:
        size = tuple(scale or (width, height))
    size = max(1, size[0]), max(1, size[1])
    if size != (width, height):
        how = {name: preprocessing.get(name) for name in ('interpolation', 'backend')}
        image = mmcv.imresize(image, size, **{name: value for name, value in how.items() if value})
    if crop is not None:
        top, left = (max(0, round((side - most) / 2)) for side, most in zip(image.shape[:2], crop[::-1]))
        image = image[top : top + crop[1], left : left + crop[0]]
    return image


def prepare(image: np.ndarray, preprocessing: Mapping[str, Any], static: Sequence[int] | None = None) -> np.ndarray:
    """``H x W x 3`` to what the program takes; filled up to the static size with the mean, which the network sees as 0."""
    to_rgb, mean = preprocessing['to_rgb'], np.float32(preprocessing['mean'])
    if not preprocessing['inside']:
        image = (image[..., ::-1] if to_rgb else image).astype(np.float32)
        image, mean = (image - mean) / np.float32(preprocessing['std']), np.zeros(3, np.float32)
    elif to_rgb:
        mean = mean[::-1]
    if static is not None:
        canvas = np.empty((*static, 3), image.dtype)
        canvas[...] = np.rint(mean)
        canvas[: image.shape[0], : image.shape[1]] = image
        image = canvas
    return np.ascontiguousarray(image[None] if preprocessing['inside'] else image.transpose(2, 0, 1)[None])


def instances(
    found: Mapping[str, np.ndarray], size: tuple[int, int], original: tuple[int, int], threshold: float | None
) -> Instances:
    """Objects in pixels of the picture.

    Args:
        found: ``boxes``, ``scores``, ``labels`` and perhaps ``masks`` of the program.
        size: (height, width) of what it was given.
        original: That of the picture.
        threshold: From which value a mask's probability is the object.
    """
    factors = np.float32([size[1] / original[1], size[0] / original[0]] * 2)
    boxes = found['boxes'].astype(np.float32) / factors
    masks = None
    if 'masks' in found:
        masks = [paste(mask, box, *original, threshold) for mask, box in zip(found['masks'], boxes)]
    return Instances(boxes, found['scores'].astype(np.float32), found['labels'].astype(np.int64), masks).sorted()


def paste(mask: np.ndarray, box: np.ndarray, height: int, width: int, threshold: float) -> Mask:
    """A mask over a box, ``S x S`` probabilities, on the picture; as mmdet does: bilinear, nothing beyond the mask."""
    left, top = np.maximum(np.floor(box[:2]).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(box[2:]).astype(int) + 1, (width, height))
    if right <= left or bottom <= top:
        return Mask.cut(np.zeros((0, 0), bool))
    rows = _weights(np.arange(top, bottom), box[1], box[3], mask.shape[0])
    columns = _weights(np.arange(left, right), box[0], box[2], mask.shape[1])
    found = Mask.cut(rows @ mask.astype(np.float32) @ columns.T >= threshold)
    return found._replace(top=found.top + int(top), left=found.left + int(left)) if found.pixels.size else found


def _weights(pixels: np.ndarray, begin: np.float32, end: np.float32, count: int) -> np.ndarray:
    """What each pixel takes of each of ``count`` samples between ``begin`` and ``end``, ``pixels x count``."""
    with np.errstate(divide='ignore', invalid='ignore'):
        place = (pixels.astype(np.float32) + np.float32(0.5) - begin) / (end - begin)
    place = np.where(np.isfinite(place), place, np.float32(0.5)) * count - np.float32(0.5)
    return np.maximum(1 - np.abs(place[:, None] - np.arange(count, dtype=np.float32)), 0)
