"""A small sound data set of segmentation in ADE20K's layout, for tests that seed faults into it."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmswin.data.checks import inspect_config

NAMES = ('wall', 'sky', 'tree')
NUMBER = 6
IMAGES, MAPS = 'images/training', 'annotations/training'


class Data:
    """Six images with label maps of 0 (not labelled) to 3 in each split; tests change them, then :meth:`only`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        photo = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
        self.labels = np.repeat(np.arange(4, dtype=np.uint8), 10)[None].repeat(30, 0)
        for split in ('training', 'validation'):
            for part in ('images', 'annotations'):
                (root / part / split).mkdir(parents=True)
            for index in range(NUMBER):
                Image.fromarray(photo).save(root / 'images' / split / f'{index}.jpg')
                Image.fromarray(self.labels).save(root / 'annotations' / split / f'{index}.png')
        self.cfg: dict[str, Any] = {
            'default_scope': 'mmseg',
            'model': {
                'backbone': {'num_classes': 9},
                'decode_head': {'num_classes': 3},
                'auxiliary_head': [{'num_classes': 3}, {'num_classes': 3}],
            },
        }
        for name, split in (('train', 'training'), ('val', 'validation')):
            self.cfg[f'{name}_dataloader'] = {
                'dataset': {
                    'type': 'BaseSegDataset',
                    'data_root': str(root),
                    'data_prefix': {'img_path': f'images/{split}', 'seg_map_path': f'annotations/{split}'},
                    'metainfo': {'classes': NAMES},
                    'reduce_zero_label': True,
                    'pipeline': [
                        {'type': 'mmswin.LoadImageFromFile', 'max_bad_fraction': 0.01 if name == 'train' else 0.0},
                        {'type': 'LoadAnnotations'},
                    ],
                }
            }

    @property
    def dataset(self) -> dict[str, Any]:
        """The configuration of the training dataset."""
        return self.cfg['train_dataloader']['dataset']

    def write_maps(self, labels: np.ndarray, *indices: int) -> None:
        """Replace training label maps, all of them by default."""
        for index in indices or range(NUMBER):
            Image.fromarray(labels).save(self.root / MAPS / f'{index}.png')

    def only(self, split: str = 'train', **options: bool) -> tuple[str, str]:
        """Level and message of the one finding."""
        findings = inspect_config(self.cfg, (split,), **options).findings
        assert len(findings) == 1, '\n'.join(map(str, findings))
        return findings[0].level, findings[0].message
