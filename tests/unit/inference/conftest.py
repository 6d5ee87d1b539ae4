"""Backends that know the answer, so that what is around them is tested in milliseconds."""

import cv2
import numpy as np
import pytest

from mmswin.inference import Instances, Mask, Predictor, Scores


def squares(image: np.ndarray) -> Instances:
    """Every bright region is an object: class 0 where it is red, 1 where it is blue; scored by its brightness."""
    bright = (image.max(2) > 100).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
    boxes, scores, labels, masks = [], [], [], []
    for left, top, width, height, _ in stats[1:]:
        part = image[top : top + height, left : left + width]
        boxes.append([left, top, left + width, top + height])
        scores.append(part.max() / 255)
        labels.append(int(part[..., 0].max() > part[..., 2].max()))
        masks.append(Mask(int(top), int(left), bright[top : top + height, left : left + width].astype(bool)))
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Instances(boxes, np.array(scores, np.float32), np.array(labels, np.int64), masks).sorted()


class Detector:
    classes, palette, segments, reading = ('red', 'blue'), None, False, {}

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images, amp=None, scores=False):
        self.batches.append(len(images))
        return [squares(image) for image in images]


class Segmentor(Detector):
    classes, segments = ('dark', 'red', 'blue'), True

    def __call__(self, images, amp=None, scores=False):
        self.batches.append(len(images))
        values = [np.stack([np.full(i.shape[:2], 100.0), i[..., 2], i[..., 0]]).astype(np.float32) for i in images]
        return values if scores else [value.argmax(0).astype(np.uint8) for value in values]


class Classifier(Detector):
    """Scores by the brightest red and blue."""

    def __call__(self, images, amp=None, scores=False):
        self.batches.append(len(images))
        values = [image[..., [2, 0]].max((0, 1)).astype(np.float32) for image in images]
        return [Scores(value / value.sum()) for value in values]


@pytest.fixture
def classifier() -> Predictor:
    return Predictor(Classifier())


@pytest.fixture
def detector() -> Predictor:
    return Predictor(Detector())


@pytest.fixture
def segmentor() -> Predictor:
    return Predictor(Segmentor())


@pytest.fixture
def picture() -> np.ndarray:
    """90 x 160, a red square of 20 pixels at (10, 15) and a blue bar, 100 pixels wide, at (60, 40); BGR."""
    image = np.full((90, 160, 3), 20, np.uint8)
    image[10:30, 15:35] = (20, 20, 240)
    image[60:70, 40:140] = (200, 20, 20)
    return image
