"""Label maps beside a COCO data set: what is missing or cannot be trained on is named, with where they come from."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmswin.data.checks import inspect_config


@pytest.fixture
def maps(data) -> Path:
    """The directory of ten maps with the labels 0, 2 and 255; the model has a semantic head of 183 labels."""
    folder = data.root / 'stuffthingmaps' / 'train2017'
    folder.mkdir(parents=True)
    labels = np.zeros((60, 80), np.uint8)
    labels[:, 20:], labels[:, 60:] = 2, 255
    for number in range(1, 11):
        Image.fromarray(labels).save(folder / f'{number:03d}.png')
    data.dataset['data_prefix']['seg'] = 'stuffthingmaps/train2017/'
    data.dataset['pipeline'][1] = {'type': 'LoadAnnotations', 'with_mask': True, 'with_seg': True}
    data.cfg['model']['roi_head']['semantic_head'] = {'num_classes': 183}
    return folder


def test_sound_maps_are_accepted(data, maps: Path) -> None:
    assert data.check() == [] and data.check(decode=True) == []


def test_a_missing_directory_is_named_with_where_the_maps_come_from(data, maps: Path) -> None:
    maps.rename(maps.with_name('elsewhere'))
    level, message = data.only()
    assert level == 'error' and repr(f'{maps}/') in message
    assert 'stuffthingmaps_trainval2017.zip' in message and 'htc_plus_no_semantic' in message


def test_the_option_that_is_named_has_a_plus_sign_for_new_keys_alone(data, maps: Path) -> None:
    maps.rename(maps.with_name('elsewhere'))
    data.write()
    (finding,) = inspect_config(Config(data.cfg), ['train']).findings
    assert '--cfg-options train_dataloader.dataset.data_root=DIRECTORY' in finding.message


def test_maps_that_nothing_reads_need_not_be_there(data, maps: Path) -> None:
    maps.rename(maps.with_name('elsewhere'))
    data.dataset['pipeline'][1]['with_seg'] = False
    assert data.check() == []


@pytest.mark.parametrize('empty', [False, True])
def test_a_pipeline_that_loads_maps_of_no_directory(data, maps: Path, empty: bool) -> None:
    del data.dataset['data_prefix']['seg']
    if empty:  # and no data root in front of it
        data.dataset['data_prefix']['seg'] = ''
        data.dataset['data_prefix']['img'] = f'{data.root}/{data.dataset["data_prefix"]["img"]}'
        data.dataset['ann_file'] = f'{data.root}/{data.dataset["ann_file"]}'
        data.dataset['data_root'] = ''
    level, message = data.only()
    assert level == 'error' and "data_prefix has no 'seg'" in message


def test_missing_maps_are_named(data, maps: Path) -> None:
    (maps / '003.png').unlink()
    (maps / '007.png').unlink()
    level, message = data.only()
    assert level == 'error' and '003.png, 007.png' in message and '2 of 10' in message
    for path in maps.iterdir():
        path.rename(path.with_suffix('.tif'))
    level, message = data.only()
    assert level == 'error' and 'none' in message and '001.png' in message


@pytest.mark.parametrize(
    ('picture', 'named'),
    [(Image.new('RGB', (80, 60)), 'RGB'), (Image.new('L', (60, 80)), '60x80'), (Image.new('L', (80, 60), 200), '200')],
)
def test_maps_that_cannot_be_trained_on_are_named(data, maps: Path, picture: Image.Image, named: str) -> None:
    picture.save(maps / '004.png')
    level, message = data.only()
    assert level == 'error' and '004' in message and '003' not in message and named in message


def test_a_damaged_map_is_found(data, maps: Path) -> None:
    (maps / '005.png').write_bytes(b'no picture')
    level, message = data.only()
    assert level == 'error' and '005.png' in message and 'not an image' in message


def test_the_labels_ignored_are_the_loss_s(data, maps: Path) -> None:
    data.cfg['model']['roi_head']['semantic_head'] |= {'loss_seg': {'ignore_index': 254}}
    level, message = data.only()
    assert level == 'error' and 'values 255' in message and '183 labels' in message


def test_a_map_that_ends_early_is_found(data, maps: Path) -> None:
    content = (maps / '005.png').read_bytes()
    (maps / '005.png').write_bytes(content[: len(content) - 30])
    level, message = data.only()
    assert level == 'error' and '005.png' in message and '1 of 10' in message


@pytest.mark.parametrize(('backend', 'fits'), [('cv2', False), ('pillow', True)])
def test_palettes_are_read_as_the_pipeline_reads_them(data, maps: Path, backend: str, fits: bool) -> None:
    """OpenCV makes colours of them."""
    data.dataset['pipeline'][1]['imdecode_backend'] = backend
    labels = Image.open(maps / '001.png').convert('P')
    labels.putpalette([1, 2, 3] * 256)
    labels.save(maps / '001.png')
    if fits:
        assert data.check() == []
    else:
        level, message = data.only()
        assert level == 'error' and '001.png' in message and '3 numbers for each pixel' in message
