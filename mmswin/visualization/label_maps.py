"""Pictures of predicted label maps beside the truth, legible for small images too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.fileio import load

from mmswin.visualization.sheets import PALETTE, caption, contact_sheet, write_picture

IGNORED = 255
_LEGEND_HEIGHT = 30


def colour_of(label: int) -> tuple[int, int, int]:
    """RGB of a class: grey for the first, which is what lies behind the rest, then clearly different ones."""
    return (150, 150, 150) if label == 0 else PALETTE[(label - 1) % len(PALETTE)]


def paint(labels: np.ndarray, number: int) -> np.ndarray:
    """A label map (H x W) as an RGB picture; what is ignored, and what is no class of the ``number``, is black."""
    table = np.zeros((256, 3), np.uint8)
    table[:number] = [colour_of(label) for label in range(number)]
    return table[np.asarray(labels, np.uint8)]


def legend(classes: Sequence[str], width: int) -> np.ndarray:
    """A white strip (RGB) with a patch of each class's colour and its name; more rows where ``width`` needs them."""
    entries = [(colour_of(label), name) for label, name in enumerate(classes)] + [((0, 0, 0), 'ignored')]
    room = max(cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] for _, name in entries) + 44
    columns = max(1, width // room)
    rows = -(-len(entries) // columns)
    strip = np.full((rows * _LEGEND_HEIGHT, width, 3), 255, np.uint8)
    for i, (colour, name) in enumerate(entries):
        left, top = i % columns * room + 8, i // columns * _LEGEND_HEIGHT + 6
        cv2.rectangle(strip, (left, top), (left + 22, top + 16), colour, -1)
        cv2.putText(strip, name, (left + 30, top + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def compare_maps(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, number: int, title: str = '', side: int = 240
) -> np.ndarray:
    """An image (RGB, H x W x 3), its true and its predicted label map (H x W) side by side, with captions.

    Args:
        image: The image.
        truth: Class of each pixel; 255 is ignored.
        prediction: Class of each pixel.
        number: How many classes there are.
        title: Stands over the image.
        side: All are enlarged by the whole number that brings the longer side nearest to this many pixels, never made
            smaller.

    Raises:
        ValueError: The three differ in size.
    """
    if not image.shape[:2] == truth.shape == prediction.shape:
        raise ValueError(
            f'image, truth and prediction differ in size: {image.shape[:2]}, {truth.shape}, '
            f'{prediction.shape} (height, width)'
        )
    zoom = max(1, round(side / max(image.shape[:2])))
    large = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    maps = [paint(labels, number).repeat(zoom, 0).repeat(zoom, 1) for labels in (truth, prediction)]
    parts = [caption(part, [text]) for part, text in zip((large, *maps), (title, 'truth', 'prediction'), strict=True)]
    gap = np.full((parts[0].shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1)


def draw_label_maps(
    predictions: str | Path, out_dir: str | Path, classes: Sequence[str], number: int = 12
) -> list[Path]:
    """Pictures of the first images of a test, one by one and on one contact sheet.

    Args:
        predictions: Pickle by ``tools/test.py --out`` with a configuration of mmseg that loads the truth too.
        out_dir: Gets ``contact_sheet.png`` and one PNG for each image.
        classes: Names of the labels.
        number: How many images; the first by name, so that nobody has chosen them.

    Returns:
        The files, the contact sheet first.

    Raises:
        ValueError: The pickle holds no predictions, or an image is not where it was when they were made.
    """
    results = sorted(load(str(predictions)), key=lambda result: result['img_path'])
    if not results:
        raise ValueError(f'{predictions} holds no predictions; test again')
    pictures, files = [], []
    for result in results[:number]:
        path = Path(result['img_path'])
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{path} is missing or no image; it was there when {predictions} was made')
        truth, prediction = (np.asarray(result[key]['data'])[0] for key in ('gt_sem_seg', 'pred_sem_seg'))
        name = path.stem.rpartition('_')
        pictures.append(
            compare_maps(image[..., ::-1], truth, prediction, len(classes), name[0] + name[1] + name[2].lstrip('0'))
        )
        files.append(Path(out_dir) / f'{path.stem}.png')
        write_picture(files[-1], pictures[-1])
    sheet = contact_sheet(pictures, columns=2)
    write_picture(Path(out_dir) / 'contact_sheet.png', np.concatenate([sheet, legend(classes, sheet.shape[1])]))
    return [Path(out_dir) / 'contact_sheet.png', *files]
