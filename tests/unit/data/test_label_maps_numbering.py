"""Numbering of label maps (``reduce_zero_label``) that is known of mmseg's own data sets, and of nobody else's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from segmentation_data import MAPS, Data

from mmswin.data.checks import inspect_config


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / 'ade')


def test_a_class_of_ones_own_says_nothing_of_its_numbering(data: Data) -> None:
    from mmseg.datasets import BaseSegDataset
    from mmseg.registry import DATASETS

    class Mine(BaseSegDataset):
        METAINFO = dict(classes=('road', 'wall', 'tree'), palette=[[0, 0, 0]] * 3)

    DATASETS.register_module(name='MineOfATest', module=Mine, force=True)
    data.dataset.pop('metainfo', None)
    data.dataset.update(type='MineOfATest', reduce_zero_label=True)
    assert inspect_config(data.cfg, ('train',)).findings == []
    (data.root / MAPS / '3.png').unlink()
    assert '3.png' in data.only()[1]


def ade20k(data: Data, **options: Any) -> None:
    """Let the data pass for ADE20K."""
    del data.dataset['metainfo'], data.dataset['reduce_zero_label']
    data.dataset.update(type='ADE20KDataset', **options)
    data.cfg['model'] = {'decode_head': {'num_classes': 150}}


def test_classes_and_numbering_of_ade20k_are_known(data: Data) -> None:
    ade20k(data)
    assert inspect_config(data.cfg, ('train',)).findings == []


def test_numbering_that_ade20k_does_not_have(data: Data) -> None:
    ade20k(data, reduce_zero_label=False)
    level, message = data.only()
    assert level == 'warning'
    assert 'ADE20KDataset\'s label maps have 0 for "not labelled" and 1 for wall' in message
    assert '"not labelled" would be taken for wall and every other class for the next' in message
    assert '--cfg-options train_dataloader.dataset.reduce_zero_label=True' in message


def test_numbering_that_cityscapes_does_not_have(data: Data) -> None:
    ade20k(data)
    data.dataset.update(type='CityscapesDataset', img_suffix='.jpg', seg_map_suffix='.png', reduce_zero_label=True)
    data.cfg['model'] = {'decode_head': {'num_classes': 19}}
    level, message = data.only()
    assert level == 'warning' and "CityscapesDataset's label maps have 0 for road: road would be ignored" in message


def test_some_classes_of_ade20k(data: Data) -> None:
    """The maps still number all 150, whatever is trained on."""
    ade20k(data, metainfo={'classes': ('sky', 'wall')})
    data.cfg['model'] = {'decode_head': {'num_classes': 2}}
    data.write_maps(np.where(data.labels == 2, 150, data.labels).astype(np.uint8))
    assert inspect_config(data.cfg, ('train',)).findings == []
    data.cfg['model'] = {'decode_head': {'num_classes': 150}}
    assert 'has 2 classes (sky, wall)' in data.only()[1]


def test_classes_of_ones_own_in_ade20k(data: Data) -> None:
    ade20k(data, metainfo={'classes': ('wall', 'cat')})
    data.cfg['model'] = {'decode_head': {'num_classes': 2}}
    level, message = data.only()
    assert level == 'error' and 'cat is not among the 150 classes of ADE20KDataset' in message
    assert "train_dataloader.dataset.type='BaseSegDataset'" in message
