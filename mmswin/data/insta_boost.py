"""InstaBoost: objects are moved a little where they are, on an image filled up behind them.

Fang et al., arXiv 1908.07801, section 3.1 ("random InstaBoost"), with the parameters of mmdet's transform of this name,
which needs a package that stops at objects of several parts on today's numpy.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageEnhance

from mmswin.registry import TRANSFORMS

ACTIONS = ('normal', 'horizontal', 'vertical', 'skip')
# Pixels from a border of the image within which an object is taken to go on beyond it.
BORDER = 10
_INPAINTING_RADIUS = 5
# Ranges of the colour change's factors, in tenths; 10 changes nothing.
_COLOURS = (
    (ImageEnhance.Color, 0, 30),
    (ImageEnhance.Brightness, 10, 20),
    (ImageEnhance.Contrast, 10, 20),
    (ImageEnhance.Sharpness, 0, 30),
)


def groups_of(boxes: np.ndarray) -> list[list[int]]:
    """Indices of boxes (N x 4; x1, y1, x2, y2) that overlap, directly or through others, in the order of their first."""
    from scipy.sparse.csgraph import connected_components

    overlap = (boxes[:, None, :2] < boxes[None, :, 2:]).all(-1)
    overlap &= overlap.T
    number, labels = connected_components(overlap)
    return [np.flatnonzero(labels == group).tolist() for group in range(number)]


def bitmap_of(mask: Sequence[Any] | dict, height: int, width: int) -> np.ndarray:
    """A mask as COCO has it, polygons or run lengths, as H x W of 0 and 1 (uint8); empty where mmdet would not read it."""
    from pycocotools import mask as coco

    if isinstance(mask, dict) and mask.get('counts') and mask.get('size'):
        return coco.decode(coco.frPyObjects(mask, height, width) if isinstance(mask['counts'], list) else mask)
    parts = [] if isinstance(mask, dict) else [part for part in mask if len(part) >= 6 and len(part) % 2 == 0]
    if not parts:
        return np.zeros((height, width), np.uint8)
    return coco.decode(coco.merge(coco.frPyObjects(parts, height, width)))


def polygons_of(bitmap: np.ndarray) -> list[list[float]]:
    """Outlines (x1, y1, x2, y2, ...) of the parts of a mask without holes, from which the same mask is drawn again."""
    finer = bitmap.repeat(2, 0).repeat(2, 1)  # outlines run through pixels' middles: at twice the size, inside the edge
    outlines, _ = cv2.findContours(finer, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((outline.reshape(-1) + 0.5) / 2).tolist() for outline in outlines]


@TRANSFORMS.register_module()
class InstaBoost(BaseTransform):
    """Moves, turns and scales objects a little; what they leave is inpainted. It stands before ``LoadAnnotations``.

    Objects whose masks' boxes overlap move together. A group within 10 pixels of a border neither shrinks nor turns, and
    moves outwards only. An object's mask is then what is seen of it, as polygons, its box that mask's; one of which nothing
    is left is dropped. Crowds, other ignored objects and those without a mask stay as they are; label maps do not follow.

    Required keys: ``img`` (H x W x 3, uint8), ``instances`` with ``ignore_flag`` and, if any, ``mask``. Modified: both; the boxes
    that a file has for the objects are not read.

    Args:
        action_candidate: What may happen to a group: 'normal' it moves, 'horizontal' and 'vertical' it moves and is
            mirrored, 'skip' it stays.
        action_prob: How likely each is.
        scale: Smallest and largest factor.
        dx: A group moves by at most its width over ``dx``, whole pixels.
        dy: The same for its height.
        theta: Smallest and largest rotation in whole degrees.
        color_prob: How likely the image's colours are changed then, too.
        hflag: Not here: places chosen by a map of how well objects fit in.
        aug_ratio: How likely anything happens to an image.

    Raises:
        ValueError: A range or probability that cannot be, an unknown action, or ``hflag``.
    """

    def __init__(
        self,
        action_candidate: Sequence[str] = ('normal', 'horizontal', 'skip'),
        action_prob: Sequence[float] = (1, 0, 0),
        scale: tuple[float, float] = (0.8, 1.2),
        dx: float = 15,
        dy: float = 15,
        theta: tuple[int, int] = (-1, 1),
        color_prob: float = 0.5,
        hflag: bool = False,
        aug_ratio: float = 0.5,
    ) -> None:
        unknown = set(action_candidate) - set(ACTIONS)
        if unknown:
            raise ValueError(f'action_candidate has {sorted(unknown)}: expected some of {", ".join(ACTIONS)}')
        if len(action_prob) != len(action_candidate) or min(action_prob) < 0 or abs(sum(action_prob) - 1) > 1e-6:
            raise ValueError(
                f'action_prob={action_prob}: expected a probability for each of {action_candidate}, 1 in all'
            )
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f'scale={scale}: expected the smallest and the largest factor, above 0')
        if min(dx, dy) <= 0:
            raise ValueError(f'dx={dx}, dy={dy}: expected numbers above 0, by which sides are divided')
        if theta[0] > theta[1]:
            raise ValueError(f'theta={theta}: expected the smallest and the largest angle')
        if hflag:
            raise ValueError('hflag=True: places chosen by appearance are not implemented; leave it False')
        for name, value in (('color_prob', color_prob), ('aug_ratio', aug_ratio)):
            if not 0 <= value <= 1:
                raise ValueError(f'{name}={value}: expected a probability')
        self.action_candidate, self.action_prob = tuple(action_candidate), tuple(action_prob)
        self.scale, self.dx, self.dy, self.theta = tuple(scale), dx, dy, tuple(theta)
        self.color_prob, self.aug_ratio = color_prob, aug_ratio

    def transform(self, results: dict) -> dict:
        """See the class; without objects nothing happens."""
        instances = results.get('instances') or []
        if not instances or np.random.random() >= self.aug_ratio:
            return results
        image = results['img']
        if image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f'img has shape {image.shape}: InstaBoost expects H x W x 3')
        dtype, image = image.dtype, np.ascontiguousarray(image.astype(np.uint8))
        left, moved = [], []
        for instance in instances:
            given = instance.get('mask')
            mask = bitmap_of(given, *image.shape[:2]) if given and not instance['ignore_flag'] else None
            if mask is None or not mask.any():
                left.append(instance)
            else:
                moved.append((instance, mask))
        masks: Sequence[np.ndarray] = []
        if moved:
            image, masks = self._move(image, np.stack([mask for _, mask in moved]))
        if np.random.random() < self.color_prob:
            image = _recolour(image)
        kept = []
        for (instance, _), mask in zip(moved, masks, strict=True):
            if mask.any():
                kept.append({**instance, 'bbox': _box_of(mask), 'mask': polygons_of(mask)})
        results['img'] = image.astype(dtype)
        results['instances'] = kept + left
        return results

    def _move(self, image: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The image and the masks (N x H x W, uint8) with every group at its new place, the later ones on top."""
        height, width = image.shape[:2]
        boxes = np.array([_box_of(mask) for mask in masks])
        canvas = cv2.inpaint(image, masks.any(0).astype(np.uint8), _INPAINTING_RADIUS, cv2.INPAINT_NS)
        result = np.zeros_like(masks)
        for group in groups_of(boxes):
            box = np.concatenate([boxes[group, :2].min(0), boxes[group, 2:].max(0)])
            matrix = self._matrix(box, height, width)
            # Nothing changes outside of this window.
            left, top, right, bottom = _window_of(box, matrix, height, width)
            matrix[:, 2] -= left, top
            size, window = (right - left, bottom - top), np.s_[top:bottom, left:right]
            pasted = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
            alpha = np.zeros((bottom - top, right - left, 1), np.float32)
            parts = []
            for index in group:
                part = cv2.warpAffine(masks[index].astype(np.float32), matrix, size)
                alpha = np.maximum(alpha, part[..., None])
                parts.append(part >= 0.5)
            canvas[window] = np.round(canvas[window] * (1 - alpha) + pasted * alpha)
            result[(slice(None), *window)][:, np.any(parts, 0)] = 0
            for index, part in zip(group, parts, strict=True):
                result[index][window] = part
        return canvas, result

    def _matrix(self, box: np.ndarray, height: int, width: int) -> np.ndarray:
        """A random map (2 x 3) of pixels to pixels for a group within a box (x1, y1, x2, y2)."""
        action = np.random.choice(self.action_candidate, p=self.action_prob)
        (x1, y1, x2, y2), identity = box, np.eye(2, 3)
        if action == 'skip':
            return identity
        furthest = int((x2 - x1) / self.dx), int((y2 - y1) / self.dy)
        shift = np.array([np.random.randint(-limit, limit + 1) for limit in furthest])
        scale, angle = np.random.uniform(*self.scale), np.random.randint(self.theta[0], self.theta[1] + 1)
        low, high = np.array([x1, y1]) < BORDER, np.array([x2, y2]) > np.array([width, height]) - BORDER
        if low.any() or high.any():
            scale, angle = max(scale, 1.0), 0
            shift = np.where(low & high, 0, np.where(low, -abs(shift), np.where(high, abs(shift), shift)))
        center = (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5  # pixel (0, 0) covers 0 to 1
        matrix = cv2.getRotationMatrix2D(center, float(angle), scale)
        if action != 'normal':
            axis = 0 if action == 'horizontal' else 1
            matrix[:, 2] += 2 * center[axis] * matrix[:, axis]
            matrix[:, axis] *= -1
        matrix[:, 2] += shift
        return matrix

    def __repr__(self) -> str:
        return f'{type(self).__name__}({", ".join(f"{name}={value}" for name, value in vars(self).items())})'


def _box_of(mask: np.ndarray) -> list[float]:
    """The box (x1, y1, x2, y2) of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return [float(edge) for edge in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)]


def _window_of(box: np.ndarray, matrix: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that a box (x1, y1, x2, y2) covers after a map of pixels to pixels."""
    (x1, y1), (x2, y2) = box[:2] - 1, box[2:] + 1
    corners = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]) @ matrix[:, :2].T + matrix[:, 2]
    low = np.clip(np.floor(corners.min(0)), 0, (width - 1, height - 1)).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, low + 1, (width, height)).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _recolour(image: np.ndarray) -> np.ndarray:
    """An image (H x W x 3, blue first) with saturation, brightness, contrast and sharpness changed at random."""
    picture = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    for kind, low, high in _COLOURS:
        picture = kind(picture).enhance(np.random.randint(low, high + 1) / 10)
    return np.ascontiguousarray(np.asarray(picture)[..., ::-1])
