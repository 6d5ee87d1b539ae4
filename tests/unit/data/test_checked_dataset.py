"""How many bad images a run survives, and which of a data set it sees."""

import os

import pytest
from mmdet.datasets import CocoDataset

from mmswin.data import checked_dataset


def test_few_missing_images_are_a_warning(data) -> None:
    data.enlarge(2)
    level, message = data.only()
    assert level == 'warning'
    assert '2 of 200 images (1.00%) are missing or do not decode' in message and 'Training skips them' in message
    assert f'{data.root}/train2017/002.jpg (missing), {data.root}/train2017/003.jpg (missing)' in message


def test_many_missing_images_are_an_error(data) -> None:
    data.enlarge(3)
    level, message = data.only()
    assert level == 'error' and '3 of 200 images (1.50%)' in message and 'At most 1.00% may be skipped' in message


def test_one_missing_image_in_a_small_data_set_is_an_error(data) -> None:
    (data.root / 'train2017' / '005.jpg').unlink()
    level, message = data.only()
    assert level == 'error' and '1 of 10 images (10.00%)' in message and '005.jpg (missing)' in message


def test_a_pipeline_that_cannot_skip(data) -> None:
    data.enlarge(1)
    data.dataset['pipeline'][0] = {'type': 'LoadImageFromFile'}
    level, message = data.only()
    assert level == 'error' and "or load with type='mmswin.LoadImageFromFile'" in message


def test_testing_cannot_skip(data) -> None:
    data.enlarge(1, 'val')
    level, message = data.only(('val',))
    assert level == 'error' and 'This pipeline cannot skip an image: restore the files' in message
    assert 'mmswin.LoadImageFromFile' not in message


def test_what_a_sample_shows_is_taken_for_the_rest(data) -> None:
    """Two in a hundred of those looked at are bad, so that the run would stop; one in a hundred of all is seen."""
    for index in range(11, 401):
        name = f'{index:03d}.jpg'
        data.train['images'].append({'id': index, 'file_name': name, 'width': 80, 'height': 60})
        data.train['annotations'].append({**data.train['annotations'][0], 'id': 100 + index, 'image_id': index})
        os.link(data.root / 'train2017' / '001.jpg', data.root / 'train2017' / name)
    for index in (11, 13, 15, 17):
        (data.root / 'train2017' / f'{index:03d}.jpg').unlink()
        (data.root / 'train2017' / f'{index:03d}.jpg').touch()
    level, message = data.only()
    assert level == 'error' and '4 of 400 images (2.00% by the 200 looked at)' in message
    level, message = data.only(decode=True)
    assert level == 'warning' and '4 of 400 images (1.00%)' in message


@pytest.mark.parametrize('indices', [2, [1, 0], (0,)])
def test_what_indices_leave_out_need_not_be_there(data, indices: object) -> None:
    data.dataset['indices'] = indices
    for number in range(3, 11):
        (data.root / 'train2017' / f'{number:03d}.jpg').unlink()
    assert data.check() == []
    data.dataset['indices'] = [0, 10]
    assert 'train_dataloader.dataset.indices goes beyond the 10 images' in data.check()[0].message


@pytest.mark.parametrize(('module', 'format'), [('mmdet.datasets', 'coco'), ('mmpose.datasets', '')])
def test_classes_of_the_same_name_in_other_libraries_are_not_mmdets(module: str, format: str) -> None:
    base = type('CocoDataset', (), {'__module__': module})
    assert checked_dataset._format(type('Mine', (base,), {})) == format


def test_a_class_that_only_loads_at_once_is_not_built(data) -> None:
    class Mine(CocoDataset):
        def __init__(self, data_root: str, ann_file: str, **entries: object) -> None:
            raise AssertionError('it was built')

    class Eager(Mine):
        def __init__(self, data_root: str, pipeline: list) -> None:
            raise AssertionError('it was built')

    data.cfg['train_dataloader']['dataset'] = {'type': Eager, 'data_root': '', 'pipeline': []}
    assert data.check() == []
    data.cfg['train_dataloader']['dataset'] = {'type': Mine, 'data_root': '', 'ann_file': ''}
    assert 'it was built' in data.only()[1]
