"""Truth (left) and prediction (right) of the first images of a test, by mmdet's and mmseg's own visualizers.

Small images are enlarged first, so that names and scores can be read.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.fileio import load
from mmengine.structures import InstanceData, PixelData

# Clear of one another also for the colour-blind (Okabe and Ito); reused from the start for more classes.
PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
GROUND = (150, 150, 150)
# Images are enlarged by the whole number that brings their longer side nearest to this many pixels.
SIDE = 336


def contact_sheet(pictures: Sequence[np.ndarray], columns: int = 3, gap: int = 8) -> np.ndarray:
    """Pictures of any sizes (one or more) in rows on one white sheet, each in the upper left corner of its cell."""
    columns = min(columns, len(pictures))
    height, width = (max(picture.shape[axis] for picture in pictures) + gap for axis in (0, 1))
    sheet = np.full((-(-len(pictures) // columns) * height + gap, columns * width + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = gap + i // columns * height, gap + i % columns * width
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def _enlarged(path: Path) -> tuple[np.ndarray, int]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} is missing or no image; it was there when the predictions were made')
    zoom = max(1, round(SIDE / max(image.shape[:2])))
    return cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)[..., ::-1], zoom


def _larger(maps: Any, zoom: int) -> np.ndarray:
    return np.asarray(maps).repeat(zoom, -2).repeat(zoom, -1)


def _draw(results: Sequence[dict], out_dir: Path, number: int, draw: Callable[[dict, Path], None]) -> list[Path]:
    """One PNG for each of the first images, and all on ``contact_sheet.png``, which comes first."""
    if not results:
        raise ValueError('the file holds no predictions; test again')
    files = []
    for result in results[:number]:
        files.append(out_dir / f'{Path(result["img_path"]).stem}.png')
        draw(result, files[-1])
    sheet = out_dir / 'contact_sheet.png'
    cv2.imwrite(str(sheet), contact_sheet([cv2.imread(str(path)) for path in files]))
    return [sheet, *files]


def draw_instances(
    predictions: str | Path,
    annotations: str | Path,
    out_dir: str | Path,
    classes: Sequence[str],
    number: int = 12,
    score_threshold: float = 0.5,
) -> list[Path]:
    """Boxes and masks of the first images of a test.

    Args:
        predictions: Pickle by ``mmswin test --out``.
        annotations: The COCO annotation file of the same images.
        out_dir: Gets ``contact_sheet.png``, which is returned first, and one PNG for each image.
        classes: Names of the labels.
        number: How many images; those with the lowest ids, so that nobody has chosen them.
        score_threshold: Predictions below it are left out.

    Raises:
        ValueError: The pickle holds no predictions, or those of other images.
    """
    from mmdet.structures import DetDataSample
    from mmdet.visualization import DetLocalVisualizer
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):  # it prints
        coco = COCO(str(annotations))
    labels = {category: label for label, category in enumerate(coco.getCatIds())}
    visualizer = DetLocalVisualizer(line_width=2, alpha=0.5, text_color=(255, 255, 255))
    palette = [PALETTE[i % len(PALETTE)] for i in range(len(classes))]
    visualizer.dataset_meta = {'classes': list(classes), 'palette': palette}

    def draw(result: dict, path: Path) -> None:
        if result['img_id'] not in coco.imgs:
            raise ValueError(
                f'{predictions} has the image id {result["img_id"]}, which {annotations} lacks; test again'
            )
        image, zoom = _enlarged(Path(result['img_path']))
        entries = coco.loadAnns(coco.getAnnIds(imgIds=[result['img_id']]))
        truth = InstanceData(
            bboxes=torch.tensor([entry['bbox'] for entry in entries], dtype=torch.float32).reshape(-1, 4) * zoom,
            labels=torch.tensor([labels[entry['category_id']] for entry in entries], dtype=torch.int64),
        )
        truth.bboxes[:, 2:] += truth.bboxes[:, :2]
        blank = np.zeros((0, *image.shape[:2]), np.uint8)
        masks = [_larger(coco.annToMask(entry), zoom) for entry in entries]
        truth.masks = np.stack(masks) if masks else blank
        found = {key: value for key, value in result['pred_instances'].items() if key != 'masks'}
        prediction = InstanceData(**{key: torch.as_tensor(value) for key, value in found.items()})
        prediction.bboxes = prediction.bboxes * zoom
        if 'masks' in result['pred_instances']:
            decoded = [_larger(coco_mask.decode(mask), zoom) for mask in result['pred_instances']['masks']]
            prediction.masks = np.stack(decoded) if decoded else blank
        sample = DetDataSample(gt_instances=truth, pred_instances=prediction[prediction.scores >= score_threshold])
        visualizer.add_datasample('', image, sample, out_file=str(path), pred_score_thr=score_threshold)

    return _draw(sorted(load(str(predictions)), key=lambda one: one['img_id']), Path(out_dir), number, draw)


def draw_label_maps(
    predictions: str | Path, out_dir: str | Path, classes: Sequence[str], number: int = 12
) -> list[Path]:
    """Label maps laid over the first images of a test, by name; as :func:`draw_instances`.

    The configuration (of mmseg) must load the truth too. The first class is what lies behind the rest.
    """
    from mmseg.structures import SegDataSample
    from mmseg.visualization import SegLocalVisualizer

    palette = [GROUND, *(PALETTE[i % len(PALETTE)] for i in range(len(classes) - 1))]
    visualizer = SegLocalVisualizer(alpha=0.7)
    visualizer.dataset_meta = {'classes': list(classes), 'palette': [list(colour) for colour in palette]}

    def draw(result: dict, path: Path) -> None:
        image, zoom = _enlarged(Path(result['img_path']))
        maps = {key: _larger(np.asarray(result[key]['data']), zoom) for key in ('gt_sem_seg', 'pred_sem_seg')}
        sample = SegDataSample(**{key: PixelData(data=torch.as_tensor(value)) for key, value in maps.items()})
        path.parent.mkdir(parents=True, exist_ok=True)
        visualizer.add_datasample('', np.ascontiguousarray(image), sample, out_file=str(path))

    return _draw(sorted(load(str(predictions)), key=lambda one: one['img_path']), Path(out_dir), number, draw)
