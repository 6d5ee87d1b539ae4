"""Boxes, masks, label maps and names on pictures of any size.

Text and lines grow with the picture, and only the pixels of an object are touched, so that a picture of 10,000 x 10,000
is drawn in seconds and no further memory. mmdet's and mmseg's visualizers write at one size on a canvas of matplotlib,
and hold a mask of the whole picture for each object.
"""

import colorsys
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmswin.inference.results import Instances

# Clear of one another also for the colour-blind (Okabe and Ito).
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
# A picture whose longer side is shorter is enlarged by a whole number.
LEAST_SIDE = 480
_MASK, _MAP = 0.45, 0.55  # opacity
# Names of objects are smaller where more than these are found, and cover this part of the picture at most, best first.
_FEW, _COVERED = 20, 0.2
# A class is named where it covers so much of the picture.
_NAMED = 0.002


def colours(number: int, given: Sequence | None = None) -> list[tuple[int, int, int]]:
    """A colour for each class: those given where they are enough, else ours.

    Args:
        number: Of classes.
        given: A data set's palette, (red, green, blue) each.
    """
    if isinstance(given, (list, tuple)) and len(given) >= number:
        return [tuple(int(value) for value in colour) for colour in given[:number]]
    more = [colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.55 + 0.4 * (i % 2), 0.95) for i in range(number)]
    rest = [tuple(round(255 * value) for value in colour) for colour in more[len(PALETTE) :]]
    return [*PALETTE[:number], *rest]


def canvas(image: np.ndarray) -> tuple[np.ndarray, int]:
    """A copy to draw on, in three channels and enlarged if it is small; and by how much."""
    image = image.reshape(*image.shape[:2], -1)
    image = image[..., :3] if image.shape[2] >= 3 else image[..., :1].repeat(3, 2)
    image = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    zoom = max(1, -(-LEAST_SIDE // max(image.shape[:2])))
    if zoom == 1:
        return image.copy(), 1
    return cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC), zoom


def draw_instances(
    picture: np.ndarray, found: Instances, classes: Sequence[str], palette: Sequence[tuple], zoom: int = 1
) -> np.ndarray:
    """Draw objects on a canvas; the best scored come on top.

    Args:
        picture: By :func:`canvas`; changed.
        found: The objects, in pixels of the picture before it was enlarged.
        classes: Names of the labels.
        palette: Their colours.
        zoom: By how much the canvas is enlarged.

    Returns:
        ``picture``.
    """
    size = text_size(picture)
    line = max(1, size // 8)
    order = np.argsort(found.scores, kind='stable')
    for i in order if found.masks is not None else ():
        _blend(picture, found.masks[i], palette[found.labels[i]][::-1], line, zoom)
    for i in order:
        (left, top, right, bottom), colour = (found.boxes[i] * zoom).round().astype(int), palette[found.labels[i]][::-1]
        cv2.rectangle(picture, (int(left), int(top)), (int(right), int(bottom)), colour, line, cv2.LINE_AA)
    taken: list[tuple[int, int, int, int]] = []
    room = _COVERED * picture.shape[0] * picture.shape[1]
    size = max(10, round(size * min(1.0, (_FEW / max(1, len(order))) ** 0.25)))
    for i in order[::-1]:
        score = '' if np.isnan(found.scores[i]) else f' {100 * found.scores[i]:.0f}'
        label = tag(f'{classes[found.labels[i]]}{score}', size, tuple(palette[found.labels[i]]))
        left, top, right, bottom = (found.boxes[i] * zoom).round().astype(int)
        height = label.shape[0]
        # Above the box, inside it, below it; else it is left out, for its colour says the class.
        places = [(top - height, left), (top, left), (bottom, left), (bottom - height, left)]
        if max(right - left, bottom - top) >= size and (not taken or label[..., 0].size <= room):
            room -= label[..., 0].size * _place(picture, label, places, taken)
    return picture


def draw_labels(
    picture: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: Sequence[tuple]
) -> np.ndarray:
    """Lay a label map over a canvas, and name each class in its largest region; returns the canvas.

    Args:
        picture: By :func:`canvas`; changed.
        labels: ``H x W``, of the picture or of it before it was enlarged; what is no class stays clear.
        classes: Names of the labels.
        palette: Their colours.
    """
    if labels.shape != picture.shape[:2]:
        labels = cv2.resize(labels, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    table = np.zeros((int(np.iinfo(labels.dtype).max) + 1, 3), np.float32)
    table[: len(palette)] = np.array(palette, np.float32)[:, ::-1]
    for top in range(0, len(labels), 256):  # a strip at a time: what is computed between is larger than the picture
        part, rows = labels[top : top + 256], picture[top : top + 256]
        opacity = np.float32(_MAP) * (part < len(classes))[..., None]
        rows[...] = rows * (1 - opacity) + table[part] * opacity
    step = -(-max(labels.shape) // 1024)
    small = labels[::step, ::step]
    size, taken = text_size(picture), []
    for i in np.argsort(-np.bincount(small.ravel(), minlength=len(classes))[: len(classes)], kind='stable'):
        inside = (small == i).astype(np.uint8)
        if inside.sum() <= _NAMED * small.size:
            break
        depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        row, column = np.unravel_index(depth.argmax(), depth.shape)
        label = tag(classes[i], size, tuple(palette[i]))
        centre = row * step - label.shape[0] // 2, column * step - label.shape[1] // 2
        _place(picture, label, [centre, *((centre[0] + way * label.shape[0], centre[1]) for way in (-1, 1))], taken)
    return picture


def draw_classes(
    picture: np.ndarray, best: Sequence[tuple[str, float]], classes: Sequence[str], palette: Sequence[tuple]
) -> np.ndarray:
    """Write classes of a whole picture with their probabilities (in percent) one below the other on a canvas; returns it.

    Args:
        picture: By :func:`canvas`; changed.
        best: Names and probabilities, best first; infinity is not written, for the truth has none.
        classes: All names.
        palette: Their colours.
    """
    top, size = 0, text_size(picture)
    for name, score in best:
        label = tag(f'{name} {100 * score:.0f}'.removesuffix(' inf'), size, tuple(palette[list(classes).index(name)]))
        _place(picture, label, [(top, 0)], [])
        top += label.shape[0]
    return picture


def text_size(picture: np.ndarray) -> int:
    """Pixels of a line of text that can be read when the picture is seen as a whole."""
    return max(13, round(max(picture.shape[:2]) / 50))


def _blend(picture: np.ndarray, mask, colour: tuple, line: int, zoom: int) -> None:
    pixels = mask.pixels.repeat(zoom, 0).repeat(zoom, 1) if zoom > 1 else mask.pixels
    if not pixels.size:
        return
    part = type(mask)(mask.top * zoom, mask.left * zoom, pixels).inside(picture)
    part[pixels] = (part[pixels] * (1 - _MASK) + np.array(colour) * _MASK).astype(np.uint8)
    outlines, _ = cv2.findContours(pixels.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = np.zeros(pixels.shape, np.uint8)
    cv2.drawContours(edge, outlines, -1, 1, max(1, line // 2))
    part[edge.astype(bool)] = colour


def _place(picture: np.ndarray, label: np.ndarray, places: Sequence[tuple], taken: list) -> bool:
    """Put a label where it fits first, moved into the picture, and where no other one is."""
    height, width = label.shape[:2]
    label = label[: picture.shape[0], : picture.shape[1]]
    for top, left in places:
        top = int(min(max(0, top), max(0, picture.shape[0] - height)))
        left = int(min(max(0, left), max(0, picture.shape[1] - width)))
        if all(top >= b or left >= r or top + height <= t or left + width <= e for t, e, b, r in taken):
            picture[top : top + label.shape[0], left : left + label.shape[1]] = label
            taken.append((top, left, top + height, left + width))
            return True
    return False


@functools.lru_cache(64)  # those of a large picture are a megabyte each
def tag(text: str, size: int, colour: tuple[int, int, int]) -> np.ndarray:
    """A name on its colour, black or white, in BGR; in a typeface that has more letters than OpenCV's."""
    from PIL import Image, ImageDraw

    dark = np.dot(colour, (0.299, 0.587, 0.114)) < 140
    left, top, right, bottom = _font(size).getbbox(text)
    pad = max(1, size // 6)
    image = Image.new('RGB', (int(right - left) + 2 * pad, int(1.2 * size) + pad), colour)
    ink = (255, 255, 255) if dark else (0, 0, 0)
    ImageDraw.Draw(image).text((pad - left, image.height // 2), text, fill=ink, font=_font(size), anchor='lm')
    return np.asarray(image)[..., ::-1].copy()


@functools.cache
def _font(size: int):
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / 'DejaVuSans.ttf'), size)
