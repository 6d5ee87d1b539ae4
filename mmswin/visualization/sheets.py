"""What pictures of predictions share: colours, captions, sheets of many, files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

# Clear of one another also for the colour-blind (Okabe and Ito); reused from the start for more classes.
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
_BAR = 22  # height in pixels of the caption over a picture


def caption(picture: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """The picture under a white bar with the texts evenly spread, shortened where they do not fit."""
    bar = np.full((_BAR, picture.shape[1], 3), 255, np.uint8)
    room = picture.shape[1] // len(texts)
    for i, text in enumerate(texts):
        while text and cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] > room - 8:
            text = text[:-1]
        cv2.putText(bar, text, (i * room + 4, 15), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([bar, picture])


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 3, gap: int = 8) -> np.ndarray:
    """Pictures (RGB, of any sizes) in rows on one white sheet, each in the upper left corner of a cell of its own.

    Raises:
        ValueError: There are no pictures.
    """
    if not pictures:
        raise ValueError('a contact sheet needs at least one picture; got none')
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    height, width = (max(picture.shape[axis] for picture in pictures) + gap for axis in (0, 1))
    sheet = np.full((rows * height + gap, columns * width + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * height, gap + i % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture in the format that the name says.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise OSError(f'{path} could not be written; is the disk full, or the name without .png or .jpg?')
