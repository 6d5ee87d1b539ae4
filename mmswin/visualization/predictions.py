"""Pictures of predictions beside the truth, legible for small images too; drawn by mmdet's own visualizer."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.fileio import load
from mmengine.structures import InstanceData
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmswin.visualization.sheets import PALETTE, caption, contact_sheet, write_picture


def _enlarge_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    larger = [cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) for mask in masks]
    return np.stack(larger) > 0.5 if larger else np.zeros((0, height, width), bool)


def _instances(boxes, labels, masks, names: Sequence[str], height: int, width: int, zoom: int, scores=None):
    corners = np.asarray(boxes, np.float32).reshape(-1, 4) * zoom
    instances = InstanceData(
        # Kept within the image, so that all four edges are seen.
        bboxes=torch.as_tensor(np.clip(corners, 0, np.array([width, height] * 2, np.float32) * zoom - 1)),
        labels=torch.as_tensor(np.asarray(labels, np.int64)).reshape(-1),
        label_names=list(names),
    )
    if masks is not None:
        stack = np.asarray(masks, bool).reshape(-1, height, width)
        instances.masks = _enlarge_masks(stack, height * zoom, width * zoom)
    if scores is not None:
        instances.scores = torch.as_tensor(np.asarray(scores, np.float32)).reshape(-1)
    return instances


def truth_of(coco: COCO, image_id: int) -> dict:
    """Annotations of an image as lists: boxes (x1, y1, x2, y2 in pixels), labels, masks (H x W) and names.

    Labels are places in the annotation file's list of categories; the name of a crowd says that it is one.
    """
    places = {number: place for place, number in enumerate(coco.getCatIds())}
    entries = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (entry['bbox'] for entry in entries)]
    titles = {category['id']: category['name'] for category in coco.loadCats(coco.getCatIds())}
    names = [titles[entry['category_id']] + (' (crowd)' if entry['iscrowd'] else '') for entry in entries]
    masks = [coco.annToMask(entry) for entry in entries]
    return {'boxes': boxes, 'labels': [places[e['category_id']] for e in entries], 'masks': masks, 'names': names}


def compare(
    image: np.ndarray,
    truth: dict,
    prediction: dict,
    classes: Sequence[str],
    score_threshold: float = 0.5,
    side: int = 336,
    title: str = '',
) -> np.ndarray:
    """The truth (left) and the prediction (right) drawn over one image.

    Args:
        image: RGB, uint8, H x W x 3.
        truth: What :func:`truth_of` gives.
        prediction: ``bboxes`` (N x 4), ``labels``, ``scores`` and, if there are, ``masks`` (run-length dicts or N x H
            x W), the ``pred_instances`` of a pickle by ``tools/test.py --out``.
        classes: Names of the labels of the prediction.
        score_threshold: Predictions below it are left out.
        side: The image is enlarged by the whole number that brings its longer side nearest to this many pixels; it is
            never made smaller.
        title: Stands over the left half.

    Returns:
        RGB picture, uint8.
    """
    height, width = image.shape[:2]
    zoom = max(1, round(side / max(height, width)))
    large = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    scores = np.asarray(prediction['scores'])
    kept = np.flatnonzero(scores >= score_threshold)
    labels = np.asarray(prediction['labels'])[kept]
    masks = prediction.get('masks')
    if masks is not None:
        masks = [coco_mask.decode(masks[i]) if isinstance(masks[i], dict) else np.asarray(masks[i]) for i in kept]
    sample = DetDataSample()
    sample.gt_instances = _instances(
        truth['boxes'], truth['labels'], truth['masks'], truth['names'], height, width, zoom
    )
    sample.pred_instances = _instances(
        np.asarray(prediction['bboxes'])[kept], labels, masks, [classes[label] for label in labels],
        height, width, zoom, scores=scores[kept],
    )  # fmt: skip
    painter = DetLocalVisualizer(line_width=2, alpha=0.45, text_color=(255, 255, 255))
    number = max([len(classes), *(label + 1 for label in truth['labels'])])
    painter.dataset_meta = {'classes': list(classes), 'palette': [PALETTE[i % len(PALETTE)] for i in range(number)]}
    painter.add_datasample('comparison', large, sample, pred_score_thr=score_threshold)
    return caption(painter.get_image(), [f'truth  {title}'.rstrip(), f'prediction, score >= {score_threshold:g}'])


def draw_comparisons(
    predictions: str | Path,
    annotations: str | Path,
    images: str | Path,
    out_dir: str | Path,
    classes: Sequence[str],
    number: int = 12,
    score_threshold: float = 0.5,
) -> list[Path]:
    """Pictures of the first images of a test, one by one and on one contact sheet.

    Args:
        predictions: Pickle by ``tools/test.py --out``.
        annotations: The COCO annotation file of the same images.
        images: Their directory.
        out_dir: Gets ``contact_sheet.png`` and one PNG for each image.
        classes: Names of the labels of the predictions.
        number: How many images; those with the lowest numbers, so that nobody has chosen them.
        score_threshold: Predictions below it are left out.

    Returns:
        The files, the contact sheet first.

    Raises:
        ValueError: The pickle holds no predictions, or of other images than the annotation file.
    """
    results = sorted(load(str(predictions)), key=lambda result: result['img_id'])
    coco = COCO()
    coco.dataset = json.loads(Path(annotations).read_text())
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        coco.createIndex()
    unknown = [result['img_id'] for result in results if result['img_id'] not in coco.imgs]
    if not results or unknown:
        found = f'image ids such as {unknown[0]} that {annotations} lacks' if unknown else 'no predictions'
        raise ValueError(f'{predictions} holds {found}; test again on the data set of that annotation file')
    pictures, files = [], []
    for result in results[:number]:
        name = coco.imgs[result['img_id']]['file_name']
        image = cv2.imread(str(Path(images) / name), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f'{Path(images) / name} is missing or no image; is {images} the right directory?')
        picture = compare(
            image[..., ::-1], truth_of(coco, result['img_id']), result['pred_instances'], classes, score_threshold,
            title=Path(name).stem.lstrip('0'),
        )  # fmt: skip
        pictures.append(picture)
        files.append(Path(out_dir) / f'{Path(name).stem}.png')
        write_picture(files[-1], picture)
    sheet = Path(out_dir) / 'contact_sheet.png'
    write_picture(sheet, contact_sheet(pictures))
    return [sheet, *files]
