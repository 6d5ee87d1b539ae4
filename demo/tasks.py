"""The two tasks of the demo: what is special about detection and about segmentation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmswin.data.miniature import MiniatureSettings

Scores = Mapping[str, float]
_COLUMNS = {'AP': 'mAP', 'AP50': 'mAP_50', 'AP75': 'mAP_75', 'small': 'mAP_s', 'medium': 'mAP_m', 'large': 'mAP_l'}
# --cfg-options for a few iterations that show that everything runs.
QUICK = (
    'train_cfg.max_iters=4', 'train_cfg.val_interval=2', 'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=2', 'train_dataloader.batch_size=2',
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One task of the demo.

    Attributes:
        title: Stands over the curves.
        kind: Of the toy data, ``'COCO'`` or ``'ADE20K'``; ``folder`` is their directory.
        settings, quick_settings: What they are made from.
        score: How the names of its figures begin.
        table: The figures for people; takes them and the directory of the data.
        starts_from: Name of the task whose weights to start from, as far as they fit, if it has been shown before.
    """

    name: str
    title: str
    config: str
    kind: str
    folder: str
    settings: MiniatureSettings
    quick_settings: MiniatureSettings
    score: str
    table: Callable[[Scores, Path], str]
    starts_from: str | None = None

    def options(self, data_dir: Path) -> list[str]:
        """``--cfg-options`` that name the data."""
        options = [f'{split}_dataloader.dataset.data_root={data_dir}' for split in ('train', 'val', 'test')]
        if self.kind == 'COCO':
            truth = data_dir / 'annotations' / 'instances_val2017.json'
            options += [f'{split}_evaluator.ann_file={truth}' for split in ('val', 'test')]
        return options

    def draw(self, predictions: Path, data_dir: Path, out_dir: Path) -> list[Path]:
        """Pictures of the predictions, the contact sheet first."""
        # Here and not above: it imports mmdet and mmseg, and the data and both tools can do without that here.
        from demo.comparisons import draw_instances, draw_label_maps

        classes = self.settings.names(self.kind)
        if self.kind == 'COCO':
            return draw_instances(predictions, data_dir / 'annotations' / 'instances_val2017.json', out_dir, classes)
        return draw_label_maps(predictions, out_dir, classes)


def ap_table(scores: Scores, data_dir: Path | None = None) -> str:
    """AP of boxes and masks as a table; ``-`` where no object is of that size."""
    rows = ['      ' + ''.join(f'{title:>8}' for title in _COLUMNS)]
    for name, kind in (('box', 'bbox'), ('mask', 'segm')):
        values = (scores.get(f'coco/{kind}_{key}', -1.0) for key in _COLUMNS.values())
        rows.append(f'{name:<6}' + ''.join(f'{"-" if value < 0 else f"{value:.3f}":>8}' for value in values))
    return '\n'.join(rows)


def iou_table(scores: Scores, data_dir: Path) -> str:
    """Mean IoU and accuracies from 0 to 1, over those of calling every pixel of the validation images ground."""
    counts = np.zeros(256, np.int64)
    for path in sorted((data_dir / 'annotations' / 'validation').glob('*.png')):
        counts += np.bincount(cv2.imread(str(path), cv2.IMREAD_UNCHANGED).ravel(), minlength=256)
    share, number = counts[1] / counts[1:].sum(), len(SEGMENTATION.settings.names('ADE20K'))
    ground = {'mIoU': share / number, 'mAcc': 1 / number, 'aAcc': share}
    model = {name: scores[name] / 100 for name in ground}  # in percent
    rows = [' ' * 10 + ''.join(f'{name:>8}' for name in ground)]
    for title, values in (('model', model), ('all ground', ground)):
        rows.append(f'{title:<10}' + ''.join(f'{values[name]:>8.3f}' for name in ground))
    return '\n'.join(rows)


DETECTION = Task(
    name='detection',
    title='Cascade Mask R-CNN, Swin, miniature COCO',
    config='configs/demo_cascade_mask_rcnn_swin_t_miniature.py',
    kind='COCO',
    folder='miniature_coco',
    settings=MiniatureSettings(num_train=1200, num_val=80, image_size=112),
    quick_settings=MiniatureSettings(num_train=8, num_val=4, image_size=56),
    score='coco/',
    table=ap_table,
)
SEGMENTATION = Task(
    name='segmentation',
    title='UPerNet, Swin, miniature ADE20K',
    config='configs/demo_upernet_swin_t_miniature.py',
    kind='ADE20K',
    folder='miniature_ade',
    settings=MiniatureSettings(num_train=800, num_val=80, image_size=112),
    quick_settings=MiniatureSettings(num_train=8, num_val=4, image_size=80),
    score='mIoU',
    table=iou_table,
    # The same backbone, which has seen the same forms by then; and UPerNets start from a trained backbone anyway.
    starts_from='detection',
)
TASKS = (DETECTION, SEGMENTATION)
