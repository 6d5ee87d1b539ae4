"""Every fault of images and label maps that users are known to meet gets its own message, and sound data gets none.

One fault is seeded at a time into a small sound data set in ADE20K's layout; no dataset or model is built.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image
from segmentation_data import IMAGES, MAPS, NUMBER, Data

from mmswin.data import pictures
from mmswin.data.checks import inspect_config


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / 'ade')


def test_sound_data_gives_no_findings(data: Data) -> None:
    report = inspect_config(data.cfg, ('train', 'val', 'test'), decode=True)
    assert report.findings == []
    assert report.summaries == [
        f'train: 6 images in {data.root}/{IMAGES}, 3 classes; values of 6 of 6 label maps in {data.root}/{MAPS} read',
        f'val: 6 images in {data.root}/images/validation, 3 classes; values of 6 of 6 label maps in '
        f'{data.root}/annotations/validation read',
    ]


@pytest.mark.parametrize(
    'change',
    [
        lambda labels: np.where(labels == 0, 255, labels).astype(np.uint8),
        lambda labels: np.where(labels == 0, 65535, labels).astype(np.uint16),
        lambda labels: np.minimum(labels, 2),
        lambda labels: np.zeros_like(labels),
    ],
    ids=['255', '16 bits', 'a class less', 'one map without labels'],
)
def test_harmless_maps_give_no_findings(data: Data, change: Callable) -> None:
    data.write_maps(change(data.labels), 0)
    assert inspect_config(data.cfg, ('train',)).findings == []


def test_palette_maps_are_read_as_numbers(data: Data) -> None:
    for index in range(NUMBER):
        image = Image.fromarray(data.labels).convert('P')
        image.putdata(data.labels.ravel().tolist())
        image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
        image.save(data.root / MAPS / f'{index}.png')
    assert inspect_config(data.cfg, ('train',)).findings == []


# --- places


@pytest.mark.parametrize(('key', 'value'), [('img_path', 'images/train'), ('seg_map_path', 'labels')])
def test_directory_that_does_not_exist(data: Data, key: str, value: str) -> None:
    data.dataset['data_prefix'][key] = value
    level, message = data.only()
    assert level == 'error'
    assert f"{data.root}/{value}' (train_dataloader.dataset.data_prefix.{key}) does not exist" in message


def test_ade20k_that_is_not_there(data: Data) -> None:
    data.dataset.update(type='ADE20KDataset', data_root='data/ade/ADEChallengeData2016')
    level, message = data.only()
    assert level == 'error' and "the data root 'data/ade/ADEChallengeData2016' does not exist" in message
    assert 'ADEChallengeData2016.zip' in message and 'MMSWIN_ADE_DIR' in message
    assert 'mmswin miniature ade' in message and 'COCO' not in message


def test_miniature_that_was_not_made(data: Data) -> None:
    data.dataset['data_root'] = 'data/no_miniature'
    assert 'Make it: mmswin miniature ade data/no_miniature. If it' in data.only()[1]


def test_no_image_directory_named(data: Data) -> None:
    data.dataset['data_prefix'] = {'seg_map_path': MAPS}
    assert "data_prefix has no 'img_path'" in data.only()[1]


def test_no_label_maps_named(data: Data) -> None:
    del data.dataset['data_prefix']['seg_map_path']
    level, message = data.only()
    assert level == 'error' and "data_prefix has no 'seg_map_path'" in message and 'LoadAnnotations' in message
    data.dataset['pipeline'].pop()
    assert inspect_config(data.cfg, ('train',)).findings == [], 'images to predict on'


# --- pairs


def test_images_with_another_ending(data: Data) -> None:
    data.dataset['img_suffix'] = '.png'
    findings = inspect_config(data.cfg, ('train',)).findings
    assert [finding.level for finding in findings] == ['error']
    assert f"no image in '{data.root}/{IMAGES}' ends in '.png'; it holds files with .jpg (6)" in findings[0].message
    assert 'train_dataloader.dataset.img_suffix' in findings[0].message


def test_empty_directory(data: Data) -> None:
    for path in (data.root / IMAGES).iterdir():
        path.unlink()
    level, message = data.only()
    assert level == 'error' and 'it holds no files' in message


def test_label_maps_missing(data: Data) -> None:
    (data.root / MAPS / '2.png').unlink()
    level, message = data.only()
    assert level == 'error' and f"1 of 6 label maps are not in '{data.root}/{MAPS}': 2.png is missing" in message


def test_label_maps_with_another_ending(data: Data) -> None:
    data.dataset['seg_map_suffix'] = '_labels.png'
    level, message = data.only()
    assert level == 'error' and 'none of the 6 label maps is in' in message and '0_labels.png' in message
    assert "holds files with .png (6). mmseg looks for the name of the image with '.jpg' replaced by" in message
    assert 'train_dataloader.dataset.seg_map_suffix' in message


def test_label_maps_without_image(data: Data) -> None:
    (data.root / IMAGES / '4.jpg').unlink()
    level, message = data.only()
    assert level == 'warning' and '1 label maps in' in message and 'have no image in' in message
    assert message.endswith('are not used: 4.png')


def test_images_of_a_list(data: Data) -> None:
    (data.root / 'split.txt').write_text('1\n9\n')
    data.dataset['ann_file'] = 'split.txt'
    levels = {finding.message.split(':')[0]: finding.level for finding in inspect_config(data.cfg, ('train',)).findings}
    assert levels == {
        f"1 of 2 label maps are not in '{data.root}/{MAPS}'": 'error',
        '1 of 2 images (50.00%) are missing or do not decode': 'error',
    }
    (data.root / 'split.txt').write_text('')
    assert 'ann_file lists no images' in data.only()[1]


def test_pairs_in_folders_below(data: Data) -> None:
    for part, suffix in ((IMAGES, '.jpg'), (MAPS, '.png')):
        (data.root / part / 'street').mkdir()
        for index in (1, 2):
            shutil.move(data.root / part / f'{index}{suffix}', data.root / part / 'street')
    assert inspect_config(data.cfg, ('train',)).findings == []
    (data.root / MAPS / 'street' / '1.png').unlink()
    assert 'street/1.png is missing' in data.only()[1]


# --- files


@pytest.mark.parametrize('turn', [False, True])
def test_sizes_that_differ(data: Data, turn: bool) -> None:
    image = Image.open(data.root / IMAGES / '3.jpg')
    if turn:  # upright to the eye, lying in the file
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(data.root / IMAGES / '3.jpg', exif=exif)
    else:
        image.resize((44, 30)).save(data.root / IMAGES / '3.jpg')
    level, message = data.only()
    assert level == 'error' and '1 of 6 images' in message and 'differ in size (width x height)' in message
    assert f'3.jpg has {"30x40" if turn else "44x30"} pixels and its label map 40x30' in message


def test_colour_pictures_as_label_maps(data: Data) -> None:
    Image.fromarray(data.labels).convert('RGB').save(data.root / MAPS / '1.png')
    level, message = data.only()
    assert level == 'error' and '1 of 6 label maps are colour pictures' in message and '1.png (RGB)' in message


def test_label_maps_that_do_not_decode(data: Data) -> None:
    folder = data.root / MAPS
    (folder / '0.png').write_bytes(b'')
    (folder / '1.png').write_bytes(b'not an image at all')
    level, message = data.only()
    assert level == 'error' and '2 of 6 label maps do not decode' in message
    assert '0.png (empty file)' in message and '1.png (not an image)' in message


def test_truncated_label_map(data: Data) -> None:
    path = data.root / MAPS / '5.png'
    Image.fromarray(np.random.default_rng(0).integers(1, 4, (30, 40), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-80])
    level, message = data.only()
    assert level == 'error' and '1 of 6 label maps do not decode' in message and '5.png (' in message


def test_truncated_image_is_found_by_reading_to_the_end(data: Data) -> None:
    path = data.root / IMAGES / '5.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    assert inspect_config(data.cfg, ('train',)).findings == []
    level, message = data.only(decode=True)
    assert level == 'error' and '1 of 6 images (16.67%)' in message and '5.jpg (image file is truncated' in message
    assert 'At most 1.00% may be skipped' in message


def test_image_that_is_no_image(data: Data) -> None:
    (data.root / IMAGES / '5.jpg').write_bytes(b'nothing of the kind')
    level, message = data.only()
    assert level == 'error' and '5.jpg (not an image)' in message


def test_few_bad_images_are_skipped_in_training(data: Data) -> None:
    for index in range(NUMBER, 120):
        os.link(data.root / IMAGES / '0.jpg', data.root / IMAGES / f'{index}.jpg')
        os.link(data.root / MAPS / '0.png', data.root / MAPS / f'{index}.png')
    (data.root / IMAGES / '7.jpg').unlink()
    (data.root / IMAGES / '7.jpg').write_bytes(b'')
    level, message = data.only()
    assert level == 'warning' and '7.jpg (empty file)' in message and 'Training skips them' in message


# --- label values


def test_values_beyond_the_classes(data: Data) -> None:
    data.write_maps(np.where(data.labels == 1, 7, data.labels).astype(np.uint8), 2)
    level, message = data.only()
    assert level == 'error' and '1 values are beyond the classes: 7 (the first in 2.png)' in message
    assert 'reduce_zero_label=True, so the 3 classes are 1 (wall) to 3 (tree), 0 and 255 are ignored' in message
    assert 'all 6 label maps read' in message and 'device-side assert' in message


def test_values_beyond_the_classes_stop_no_metric(data: Data) -> None:
    labels = np.where(data.labels == 1, 7, data.labels).astype(np.uint8)
    Image.fromarray(labels).save(data.root / 'annotations/validation/2.png')
    level, message = data.only('val')
    assert level == 'warning' and 'beyond the classes: 7' in message
    IoUMetric.intersect_and_union(torch.zeros(30, 40), torch.from_numpy(labels), 3, 255)


def test_values_of_sixteen_bits(data: Data) -> None:
    data.write_maps(data.labels.astype(np.uint16) * 256)
    level, message = data.only()
    assert level == 'error' and '3 values are beyond the classes: 256, 512, 768' in message
    assert 'cut to 8 bits' in message


def test_reduce_zero_label_forgotten(data: Data) -> None:
    data.dataset['reduce_zero_label'] = False
    level, message = data.only()
    assert level == 'error' and 'the values go from 0 to 3, one more than the 3 classes' in message
    assert 'reduce_zero_label=False, so the 3 classes are 0 (wall) to 2 (tree) and 255 is ignored' in message
    assert '--cfg-options train_dataloader.dataset.reduce_zero_label=True' in message


def test_reduce_zero_label_where_zero_is_a_class(data: Data) -> None:
    data.write_maps(np.minimum(data.labels, 2))
    level, message = data.only()
    assert level == 'warning' and 'the values are 0 to 2, and 3 (tree) never occurs' in message
    assert 'If 0 is the class wall, then it is ignored here' in message and 'the IoU of tree will be nan' in message
    assert '--cfg-options train_dataloader.dataset.reduce_zero_label=False' in message
    data.dataset['reduce_zero_label'] = False
    assert inspect_config(data.cfg, ('train',)).findings == []


def test_a_class_that_validation_lacks_is_a_warning(data: Data) -> None:
    for index in range(NUMBER):
        Image.fromarray(np.minimum(data.labels, 2)).save(data.root / 'annotations/validation' / f'{index}.png')
    level, message = data.only('val')
    assert level == 'warning' and '3 (tree) never occurs' in message


def test_nothing_labelled(data: Data) -> None:
    data.write_maps(np.zeros_like(data.labels))
    level, message = data.only()
    assert level == 'error' and 'every pixel is ignored (values: 0)' in message
    assert 'If 0 is the class wall: --cfg-options train_dataloader.dataset.reduce_zero_label=False' in message


def test_black_and_white_masks(data: Data) -> None:
    data.write_maps(np.where(data.labels > 1, 255, 0).astype(np.uint8))
    data.dataset['reduce_zero_label'] = False
    level, message = data.only()
    assert level == 'error' and 'they hold only 0 and 255' in message and 'write 1 in place of 255' in message
    data.dataset['metainfo'], data.cfg['model'] = {'classes': ('road',)}, {}
    assert data.only()[0] == 'warning', '255 may be what is ignored'


def test_black_and_white_masks_in_a_sample_are_no_error(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    data.dataset['reduce_zero_label'] = False
    monkeypatch.setattr(pictures, 'SAMPLE', 3)
    data.write_maps(np.where(data.labels > 1, 255, 0).astype(np.uint8))
    data.write_maps(np.where(data.labels > 1, 1, 0).astype(np.uint8), 1)
    level, message = data.only()
    assert level == 'warning' and 'they hold only 0 and 255' in message
    assert inspect_config(data.cfg, ('train',), decode=True).findings == []


def test_a_sample_is_read_unless_all_are_asked_for(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, 'SAMPLE', 3)
    data.write_maps(np.full_like(data.labels, 9), 1)
    report = inspect_config(data.cfg, ('train',))
    assert report.findings == [] and 'values of 3 of 6 label maps' in report.summaries[0]
    assert '1 values are beyond the classes: 9 (the first in 1.png)' in data.only(decode=True)[1]
    data.write_maps(np.full_like(data.labels, 9), 2)
    assert '3 of 6 label maps (--decode of mmswin check reads all) read' in data.only()[1]


# --- configuration


@pytest.mark.parametrize(
    ('change', 'option'),
    [
        (lambda model: model['decode_head'].update(num_classes=150), 'model.decode_head.num_classes'),
        (lambda model: model['auxiliary_head'][1].update(num_classes=150), 'model.auxiliary_head.1.num_classes'),
        (lambda model: model.update(auxiliary_head={'num_classes': 150}), 'model.auxiliary_head.num_classes'),
    ],
)
def test_num_classes_of_any_head(data: Data, change: Callable[[dict], None], option: str) -> None:
    change(data.cfg['model'])
    level, message = data.only()
    assert level == 'error'
    assert f'has 3 classes (wall, sky, tree), and the model expects another number: {option}=150' in message
    assert f'--cfg-options {option}=3' in message


def test_no_classes(data: Data) -> None:
    del data.dataset['metainfo']
    level, message = data.only()
    assert level == 'warning' and 'the expected classes are unknown (BaseSegDataset has none of its own' in message


def test_another_number_of_colours_than_classes(data: Data) -> None:
    data.dataset['metainfo']['palette'] = [[1, 2, 3]] * 2
    level, message = data.only()
    assert level == 'error' and '2 colours' in message and '3 classes' in message
    assert '--cfg-options train_dataloader.dataset.metainfo.palette="[]"' in message
    data.dataset['metainfo']['palette'] = []
    assert inspect_config(data.cfg, ('train',)).findings == []


def test_pipeline_against_the_dataset(data: Data) -> None:
    data.dataset['pipeline'][1]['reduce_zero_label'] = False
    level, message = data.only()
    assert level == 'error'
    assert 'LoadAnnotations(reduce_zero_label=False) and the dataset reduce_zero_label=True' in message


@pytest.mark.parametrize(
    'wrap',
    [
        lambda inner: {'type': 'RepeatDataset', 'times': 2, 'dataset': inner},
        lambda inner: {'type': 'ConcatDataset', 'datasets': [inner]},
    ],
)
def test_wrapped_datasets(data: Data, wrap: Callable[[dict], dict]) -> None:
    data.write_maps(np.full_like(data.labels, 9), 1)
    data.cfg['train_dataloader']['dataset'] = wrap(data.dataset)
    assert 'beyond the classes: 9' in data.only()[1]
