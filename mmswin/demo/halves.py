"""The two halves of the demo: what is special about detection and about segmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmswin.data.miniature import MiniatureSettings, ensure_miniature_coco
from mmswin.data.miniature_ade import MiniatureAdeSettings, ensure_miniature_ade

_COLUMNS = (('AP', 'mAP'), ('AP50', 'mAP_50'), ('AP75', 'mAP_75'), ('small', 'mAP_s'), ('medium', 'mAP_m'),
            ('large', 'mAP_l'))  # fmt: skip

_SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class Half:
    """One half of the demo.

    Attributes:
        name: ``'detection'`` or ``'segmentation'``; of its directory too.
        title: Stands over the curves.
        config: Path within the checkout.
        data: Name of the data set for people.
        folder: Its directory.
        settings: Of the data.
        quick_settings: Of the data where a few iterations are to show that everything runs.
        quick_options: ``--cfg-options`` for that.
        ensure: Makes the data unless they are there; takes directory, settings and a function for the progress.
        options: ``--cfg-options`` that name the data; takes their directory.
        score: How the names of its figures begin.
        table: The figures for people; takes them and the directory of the data.
        draw: Draws predictions; takes their pickle, the directories of data and pictures, and the names of the classes.
        starts_from: Name of the half whose weights to start from, as far as they fit, if it has been shown before.
    """

    name: str
    title: str
    config: str
    data: str
    folder: str
    settings: MiniatureSettings
    quick_settings: MiniatureSettings
    quick_options: Mapping[str, object]
    ensure: Callable[..., bool]
    options: Callable[[Path], dict[str, object]]
    score: str
    table: Callable[[Mapping[str, float], Path], str]
    draw: Callable[[Path, Path, Path, Sequence[str]], list[Path]]
    starts_from: str | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the labels."""
        return getattr(self.settings, 'names', self.settings.classes)


def ap_table(scores: Mapping[str, float]) -> str:
    """AP of boxes and masks as a table; ``-`` where no object is of that size."""
    rows = ['      ' + ''.join(f'{title:>8}' for title, _ in _COLUMNS)]
    for name, kind in (('box', 'bbox'), ('mask', 'segm')):
        values = (scores.get(f'coco/{kind}_{key}', -1.0) for _, key in _COLUMNS)
        rows.append(f'{name:<6}' + ''.join(f'{"-" if value < 0 else f"{value:.3f}":>8}' for value in values))
    return '\n'.join(rows)


def iou_table(scores: Mapping[str, float], all_ground: Mapping[str, float]) -> str:
    """Mean IoU and accuracies, in percent, as a table from 0 to 1, beside those of calling every pixel ground."""
    names = ('mIoU', 'mAcc', 'aAcc')
    rows = [' ' * 10 + ''.join(f'{name:>8}' for name in names)]
    for title, values in (('model', scores), ('all ground', all_ground)):
        rows.append(f'{title:<10}' + ''.join(f'{values[name] / 100:>8.3f}' for name in names))
    return '\n'.join(rows)


def scores_of_ground(data_dir: Path, number: int) -> dict[str, float]:
    """What calling every pixel ground scores on the validation images, in percent; ``number`` counts the classes."""
    counts = np.zeros(256, np.int64)
    for path in sorted((data_dir / 'annotations' / 'validation').glob('*.png')):
        counts += np.bincount(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ravel(), minlength=256)
    share = 100 * counts[1] / counts[1:].sum()  # 0 is not labelled, 1 is the ground
    return {'mIoU': share / number, 'mAcc': 100 / number, 'aAcc': share}


def _coco_options(data_dir: Path) -> dict[str, object]:
    options: dict[str, object] = {f'{split}_dataloader.dataset.data_root': str(data_dir) for split in _SPLITS}
    for split in ('val', 'test'):
        options[f'{split}_evaluator.ann_file'] = str(data_dir / 'annotations' / 'instances_val2017.json')
    return options


def _ade_options(data_dir: Path) -> dict[str, object]:
    return {f'{split}_dataloader.dataset.data_root': str(data_dir) for split in _SPLITS}


# The pictures are drawn by what imports mmdet and mmseg, and the data and both tools can do without that here.
def _draw_boxes(predictions: Path, data_dir: Path, out_dir: Path, classes: Sequence[str]) -> list[Path]:
    from mmswin.visualization.predictions import draw_comparisons

    annotations = data_dir / 'annotations' / 'instances_val2017.json'
    return draw_comparisons(predictions, annotations, data_dir / 'val2017', out_dir, classes)


def _draw_maps(predictions: Path, data_dir: Path, out_dir: Path, classes: Sequence[str]) -> list[Path]:
    from mmswin.visualization.label_maps import draw_label_maps

    return draw_label_maps(predictions, out_dir, classes)


_QUICK = {
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 2,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 2,
    'train_dataloader.batch_size': 2,
}
DETECTION = Half(
    name='detection',
    title='Cascade Mask R-CNN, Swin, miniature COCO',
    config='configs/demo_cascade_mask_rcnn_swin_t_miniature.py',
    data='COCO',
    folder='miniature_coco',
    settings=MiniatureSettings(num_train=1200, num_val=80, image_size=112),
    quick_settings=MiniatureSettings(num_train=8, num_val=4, image_size=56),
    quick_options=_QUICK,
    ensure=ensure_miniature_coco,
    options=_coco_options,
    score='coco/',
    table=lambda scores, data_dir: ap_table(scores),
    draw=_draw_boxes,
)
SEGMENTATION = Half(
    name='segmentation',
    title='UPerNet, Swin, miniature ADE20K',
    config='configs/demo_upernet_swin_t_miniature.py',
    data='ADE20K',
    folder='miniature_ade',
    settings=MiniatureAdeSettings(num_train=800, num_val=80, image_size=112),
    quick_settings=MiniatureAdeSettings(num_train=8, num_val=4, image_size=80),
    quick_options=_QUICK,
    ensure=ensure_miniature_ade,
    options=_ade_options,
    score='mIoU',
    table=lambda scores, data_dir: iou_table(scores, scores_of_ground(data_dir, len(SEGMENTATION.classes))),
    draw=_draw_maps,
    # The same backbone, which has seen the same forms by then; and UPerNets start from a trained backbone anyway.
    starts_from='detection',
)
HALVES = (DETECTION, SEGMENTATION)
