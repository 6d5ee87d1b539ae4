"""A small sound data set in COCO's layout, into which tests seed one fault at a time; nothing is built of it."""

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmswin.data.checked_dataset import Finding
from mmswin.data.checks import inspect_config

NAMES = ('cat', 'dog', 'bird')
NUM_IMAGES = 10


class Data:
    """A sound data set of ten images in each split and its configuration; tests change it, then :meth:`check`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.parts = {}
        image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        jpeg = cv2.imencode('.jpg', image)[1].tobytes()
        for split in ('train', 'val'):
            (root / f'{split}2017').mkdir(parents=True)
            images = []
            for number in range(1, NUM_IMAGES + 1):
                images.append({'id': number, 'file_name': f'{number:03d}.jpg', 'width': 80, 'height': 60})
                (root / f'{split}2017' / images[-1]['file_name']).write_bytes(jpeg)
            annotations = [
                {
                    'id': number,
                    'image_id': (number - 1) % NUM_IMAGES + 1,
                    'category_id': number % 3 + 1,
                    'bbox': [10, 10, 40, 30],
                    'area': 1200,
                    'iscrowd': 0,
                    'segmentation': [[10, 10, 50, 10, 50, 40]],
                }
                for number in range(1, 3 * NUM_IMAGES + 1)
            ]
            categories = [
                {'id': number, 'name': name, 'supercategory': 'animal'} for number, name in enumerate(NAMES, 1)
            ]
            self.parts[split] = {'images': images, 'annotations': annotations, 'categories': categories}
        self.cfg: dict[str, Any] = {
            'default_scope': 'mmdet',
            'model': {
                'rpn_head': {'num_classes': 1},
                'roi_head': {'bbox_head': [{'num_classes': 3}, {'num_classes': 3}], 'mask_head': {'num_classes': 3}},
            },
        }
        for split in ('train', 'val'):
            self.cfg[f'{split}_dataloader'] = {
                'dataset': {
                    'type': 'CocoDataset',
                    'data_root': f'{root}/',
                    'ann_file': f'annotations/instances_{split}2017.json',
                    'data_prefix': {'img': f'{split}2017/'},
                    'metainfo': {'classes': NAMES},
                    'filter_cfg': {'filter_empty_gt': True, 'min_size': 32},
                    'test_mode': split != 'train',
                    'pipeline': [{'type': 'mmswin.LoadImageFromFile'}, {'type': 'LoadAnnotations', 'with_mask': True}],
                }
            }
        self.cfg['val_evaluator'] = {'type': 'CocoMetric', 'ann_file': str(self.file('val'))}

    def file(self, split: str = 'train') -> Path:
        return self.root / 'annotations' / f'instances_{split}2017.json'

    @property
    def train(self) -> dict[str, Any]:
        """The training annotations."""
        return self.parts['train']

    @property
    def dataset(self) -> dict[str, Any]:
        """The configuration of the training dataset."""
        return self.cfg['train_dataloader']['dataset']

    def enlarge(self, missing: int, split: str = 'train') -> None:
        """Make a large data set out of the small one, and delete some of its images."""
        part, folder = self.parts[split], self.root / f'{split}2017'
        for index in range(11, 201):
            part['images'].append({'id': index, 'file_name': f'{index:03d}.jpg', 'width': 80, 'height': 60})
            part['annotations'].append({**part['annotations'][0], 'id': 100 + index, 'image_id': index})
            os.link(folder / '001.jpg', folder / f'{index:03d}.jpg')
        for index in range(2, 2 + missing):
            (folder / f'{index:03d}.jpg').unlink()

    def write(self) -> None:
        (self.root / 'annotations').mkdir(exist_ok=True)
        for split, part in self.parts.items():
            self.file(split).write_text(json.dumps(part))

    def check(self, splits: tuple[str, ...] = ('train',), decode: bool = False, write: bool = True) -> list[Finding]:
        if write:
            self.write()
        return inspect_config(self.cfg, splits, decode=decode).findings

    def only(self, splits: tuple[str, ...] = ('train',), **options: bool) -> tuple[str, str]:
        """Level and message of the one finding."""
        findings = self.check(splits, **options)
        assert len(findings) == 1, '\n'.join(map(str, findings))
        assert findings[0].split == splits[-1]
        return findings[0].level, findings[0].message


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / 'coco')
