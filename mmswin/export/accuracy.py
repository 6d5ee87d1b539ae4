"""What a program of less precision costs: AP, mIoU or accuracy beside the float32 program's, on a folder of pictures."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmswin.data.config_facts import build_dataset, build_step, leaf_datasets
from mmswin.errors import RunError
from mmswin.inference.predictor import Predictor
from mmswin.inference.results import Result

# Pictures that are measured on, at most.
PICTURES = 200
# Points that less precision may cost, without annotations and with them.
ALLOWED = {False: 5.0, True: 1.0}
# Without annotations, objects of the float32 program from this score on stand for the truth.
CERTAIN = 0.3


@dataclass
class Measured:
    """AP, mIoU or accuracy of programs, in points.

    Attributes:
        metric: ``'box AP'``, ``'mask AP'``, ``'mIoU'`` or ``'top-1'``.
        values: Of each program.
        truth: What they were compared with.
        annotated: Whether that are annotations.
        pictures: How many.
    """

    metric: str
    values: list[float]
    truth: str
    annotated: bool
    pictures: int


def measure(programs: Sequence[Path], folder: str, cfg: Config) -> Measured:
    """AP, mIoU or accuracy of programs on the same pictures.

    Args:
        programs: Of the same model; the first stands for the truth where there are no annotations.
        folder: Of pictures. Those that the configuration's test set (or validation set) names have its annotations, and
            only they are measured on then.
        cfg: The configuration.

    Raises:
        RunError: There is no picture, or no object in them.
    """
    from mmswin.inference.exported_backend import ExportedBackend

    predictors = [Predictor(ExportedBackend(path)) for path in programs]
    truths = _annotations(cfg, folder)
    source = list(truths)[:PICTURES] or folder
    entries: list[list[Any]] = [[] for _ in programs]
    expected: list[Any] = []
    for result in islice(predictors[0](source), PICTURES):
        results = [result, *(next(iter(predictor(result.image))) for predictor in predictors[1:])]
        given = truths.get(str(Path(result.path or '').resolve()))
        expected.append(_stand_in(result) if given is None else given)
        for kept, one in zip(entries, results):
            kept.append(_keep(one))
    if not expected:
        raise RunError(f'there is no picture to measure on in {folder}')
    truth = f'annotations of the data set of {folder}' if truths else 'what the float32 program finds (no annotations)'
    if predictors[0].backend.segments:
        metric, values = 'mIoU', [_miou(expected, kept, len(predictors[0].classes)) for kept in entries]
    elif isinstance(expected[0], int):
        metric, values = 'top-1', [100 * float(np.mean(np.equal(kept, expected))) for kept in entries]
    elif not any(expected):
        raise RunError(f'{folder}: there is no object to measure on, by {truth}; name pictures with objects')
    else:
        masks = any('segmentation' in one for kept in entries for _, _, found in kept for one in found)
        metric, kind = ('mask AP', 'segm') if masks else ('box AP', 'bbox')
        values = [_ap(expected, kept, kind) for kept in entries]
    return Measured(metric, values, truth, bool(truths), len(expected))


def _keep(result: Result) -> Any:
    """What is needed of a result later."""
    if result.instances is None:
        return result.label_map if result.scores is None else int(result.scores.argmax())
    return *result.image.shape[:2], result.to_coco()


def _stand_in(result: Result) -> Any:
    return _keep(result) if result.instances is None else result.filter(CERTAIN).to_coco()


def _annotations(cfg: Config, folder: str) -> dict[str, Any]:
    """The truth of the pictures in a folder, by their paths, as far as the test set has it; empty where it has none."""
    inside = Path(folder).resolve()
    for key in ('test_dataloader', 'val_dataloader'):
        for _, leaf in leaf_datasets((cfg.get(key) or {}).get('dataset'), ''):
            try:
                dataset = build_dataset(leaf, cfg.get('default_scope'))
                dataset.full_init()
            except Exception:  # data that are elsewhere, or not in order
                continue
            load = build_step(leaf, cfg.get('default_scope'), 'LoadAnnotations')
            found: dict[str, Any] = {}
            for index in range(len(dataset)):
                info = dataset.get_data_info(index)
                path = Path(info['img_path']).resolve()
                if path.is_relative_to(inside) and path.is_file():
                    found[str(path)] = _truth_of(info, load)
            if found:
                return found
    return {}


def _truth_of(info: Mapping[str, Any], load: Any) -> Any:
    if 'gt_label' in info:
        return int(info['gt_label'])
    if 'instances' not in info:
        return load({**info, 'seg_fields': []})['gt_seg_map']
    entries = []
    for one in info['instances']:
        left, top, right, bottom = map(float, one['bbox'])
        box = [left, top, right - left, bottom - top]
        entry = {'bbox': box, 'category_id': int(one['bbox_label']) + 1, 'area': box[2] * box[3]}
        entries.append({**entry, 'iscrowd': int(one.get('ignore_flag', 0)), 'segmentation': one.get('mask')})
    return entries


def _miou(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], classes: int) -> float:
    counts = np.zeros((classes, classes))
    for truth, labels in zip(expected, found):
        known = (truth < classes) & (labels < classes)
        pairs = truth[known].astype(np.int64) * classes + labels[known]
        counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    return float(100 * np.mean((np.diag(counts) / np.maximum(union, 1))[union > 0])) if union.any() else 0.0


def _ap(expected: Sequence[list[dict]], found: Sequence[tuple[int, int, list[dict]]], kind: str) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = [{'id': i, 'height': height, 'width': width} for i, (height, width, _) in enumerate(found)]
    truth = [{**one, 'image_id': i} for i, entries in enumerate(expected) for one in entries]
    results = [
        {key: one[key] for key in ('bbox', 'segmentation', 'category_id', 'score') if key in one} | {'image_id': i}
        for i, (_, _, entries) in enumerate(found)
        for one in entries
    ]
    if not results or not truth:
        return 0.0
    labels = sorted({one['category_id'] for one in (*truth, *results)})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            'images': images,
            'annotations': [{'iscrowd': 0, **one, 'id': i + 1} for i, one in enumerate(truth)],
            'categories': [{'id': label, 'name': str(label)} for label in labels],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(100 * max(evaluation.stats[0], 0))
