"""Every fault of the data that users are known to meet gets its own message, and sound data gets none.

One fault is seeded at a time into a small sound data set in COCO's layout; no dataset or model is built.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmswin.datasets.checks import Finding, check_config, inspect_config

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
                {'id': number, 'image_id': (number - 1) % NUM_IMAGES + 1, 'category_id': number % 3 + 1,
                 'bbox': [10, 10, 40, 30], 'area': 1200, 'iscrowd': 0, 'segmentation': [[10, 10, 50, 10, 50, 40]]}
                for number in range(1, 3 * NUM_IMAGES + 1)
            ]
            categories = [{'id': number, 'name': name, 'supercategory': 'animal'}
                          for number, name in enumerate(NAMES, 1)]
            self.parts[split] = {'images': images, 'annotations': annotations, 'categories': categories}
        self.cfg: dict[str, Any] = {
            'default_scope': 'mmdet',
            'model': {
                'rpn_head': {'num_classes': 1},
                'roi_head': {'bbox_head': [{'num_classes': 3}, {'num_classes': 3}], 'mask_head': {'num_classes': 3}},
            },
        }
        for split in ('train', 'val'):
            self.cfg[f'{split}_dataloader'] = {'dataset': {
                'type': 'CocoDataset',
                'data_root': f'{root}/',
                'ann_file': f'annotations/instances_{split}2017.json',
                'data_prefix': {'img': f'{split}2017/'},
                'metainfo': {'classes': NAMES},
                'filter_cfg': {'filter_empty_gt': True, 'min_size': 32},
                'test_mode': split != 'train',
                'pipeline': [{'type': 'mmswin.LoadImageFromFile'}, {'type': 'LoadAnnotations', 'with_mask': True}],
            }}
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

    def write(self) -> None:
        (self.root / 'annotations').mkdir(exist_ok=True)
        for split, part in self.parts.items():
            self.file(split).write_text(json.dumps(part))

    def check(self, splits: tuple[str, ...] = ('train', ), decode: bool = False, write: bool = True) -> list[Finding]:
        if write:
            self.write()
        return check_config(self.cfg, splits, decode=decode)

    def only(self, splits: tuple[str, ...] = ('train', ), **options: bool) -> tuple[str, str]:
        """Level and message of the one finding."""
        findings = self.check(splits, **options)
        assert len(findings) == 1, '\n'.join(map(str, findings))
        assert findings[0].split == splits[-1]
        return findings[0].level, findings[0].message


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / 'coco')


def test_sound_data_gives_no_findings(data: Data) -> None:
    data.write()
    report = inspect_config(data.cfg, ('train', 'val', 'test'), decode=True)
    assert report.findings == [] and report.num_errors == 0
    assert report.summaries == [
        f'train: 10 images, 10 of them usable for training; 30 annotations, 3 categories in {data.file()}',
        f'val: 10 images; 30 annotations, 3 categories in {data.file("val")}',
    ]


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match='unknown split validation: expected train, val or test'):
        check_config({}, ('validation', ))


# --- places


def test_data_root_that_does_not_exist(data: Data, tmp_path: Path) -> None:
    data.dataset['data_root'] = f'{tmp_path}/nowhere/'
    level, message = data.only()
    assert level == 'error'
    assert f"the data root '{tmp_path}/nowhere/' does not exist: looked for '{tmp_path}/nowhere/annotations/" in message
    assert 'instances_train2017.json' in message and os.getcwd() in message
    assert 'tools/make_miniature_coco.py' in message and 'cocodataset.org' in message
    assert '--cfg-options train_dataloader.dataset.data_root=' in message


def test_miniature_that_was_not_made(data: Data) -> None:
    data.dataset['data_root'] = 'data/no_miniature/'
    _, message = data.only()
    assert 'Make it: python tools/make_miniature_coco.py data/no_miniature/. If it is elsewhere' in message


def test_a_variable_that_the_config_does_not_follow(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    data.dataset['data_root'] = 'data/no_miniature/'
    monkeypatch.setenv('MMSWIN_COCO_DIR', '/elsewhere')
    assert 'MMSWIN_COCO_DIR is set, but this config does not follow it.' in data.only()[1]
    data.dataset['data_root'] = '/elsewhere/miniature'
    assert 'does not follow' not in data.only()[1]


@pytest.mark.parametrize('name, holds', [
    ('mask_rcnn_swin_t_finetune', 'annotations/train.json, train/'),
    ('upernet_swin_t_finetune', 'images/train, labels/train')])
def test_ones_own_data_are_not_got_from_elsewhere(name: str, holds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMSWIN_DATA_DIR', 'nowhere')
    cfg = Config.fromfile(Path(__file__).resolve().parents[2] / 'configs' / f'{name}.py')
    (found,) = check_config(cfg, ['train'])
    assert f'It is to hold your own data, {holds}: set data_root in the config, or export' in found.message
    assert 'MMSWIN_DATA_DIR=DIRECTORY' in found.message and 'http' not in found.message


def test_annotation_file_that_does_not_exist(data: Data) -> None:
    data.dataset['ann_file'] = 'annotations/instances_train2018.json'
    level, message = data.only()
    assert level == 'error'
    assert "instances_train2018.json' does not exist" in message
    assert 'holds instances_train2017.json, instances_val2017.json' in message
    assert 'train_dataloader.dataset.ann_file=FILE' in message


def test_image_directory_that_does_not_exist(data: Data) -> None:
    data.dataset['data_prefix'] = {'img': 'images/'}
    level, message = data.only()
    assert level == 'error' and "images/' (train_dataloader.dataset.data_prefix.img) does not exist" in message


def test_image_directory_that_is_not_configured(data: Data) -> None:
    data.dataset['data_prefix'] = {}
    level, message = data.only()
    assert level == 'error' and "train_dataloader.dataset.data_prefix has no 'img'" in message


def test_remote_data_is_said_to_be_unchecked(data: Data) -> None:
    data.dataset['data_root'] = 's3://bucket/coco/'
    level, message = data.only()
    assert level == 'warning' and 's3://bucket/coco/, which cannot be checked from here' in message


# --- annotation files


def test_truncated_annotation_file(data: Data) -> None:
    data.write()
    whole = data.file().read_text()
    # Cut in a number, in a string, after a comma, after a colon and after an opened list.
    cuts = [len(whole) // 2 + offset for offset in range(0, 60, 3)]
    for cut in cuts:
        data.file().write_text(whole[:cut])
        level, message = data.only(write=False)
        assert level == 'error'
        assert f'{data.file()} is truncated: the JSON text ends in the middle, after {cut} bytes' in message, cut


@pytest.mark.parametrize(('content', 'expected'), [
    (b'', 'is empty (0 bytes)'),
    (b'PK\x03\x04\xff\xfe\xff', 'is not JSON: it is a zip archive, unpack it'),
    (b'\xff\xd8\xff\xe0\x00', 'is not JSON: it is not text'),
    (b'<html>404 Not Found</html>\n', 'is not JSON: Expecting value at line 1, column 1'),
    (b'[1, 2, 3]', 'it holds a JSON list, and COCO is an object with images, annotations, categories'),
    (b'{"metainfo": {}, "data_list": []}', "the list 'images' is missing (found: metainfo, data_list)"),
    (b'{"images": [], "annotations": []}', "the list 'categories' is missing (found: images, annotations)"),
    (b'{"images": [7], "annotations": [], "categories": []}', 'images[0] is a JSON int, expected an object'),
])
def test_files_that_are_not_coco(data: Data, content: bytes, expected: str) -> None:
    data.write()
    data.file().write_bytes(content)
    level, message = data.only(write=False)
    assert level == 'error' and message.startswith(str(data.file())) and expected in message


@pytest.mark.parametrize(('section', 'key', 'expected'), [
    ('images', 'file_name', "the key 'file_name' is missing in 1 of 10 images (first in images[4])"),
    ('images', 'width', "the key 'width' is missing in 1 of 10 images"),
    ('annotations', 'bbox', "the key 'bbox' is missing in 1 of 30 annotations"),
    ('annotations', 'area', "the key 'area' is missing in 1 of 30 annotations"),
])
def test_missing_keys(data: Data, section: str, key: str, expected: str) -> None:
    del data.train[section][4][key]
    level, message = data.only()
    assert level == 'error' and expected in message


@pytest.mark.parametrize('box', [[1, 2, 3], [1, 2, 3, float('nan')], [1, 2, 3, 'wide'], None, [1, 2, 3, 4, 5]])
def test_boxes_that_are_no_boxes(data: Data, box: Any) -> None:
    data.train['annotations'][7]['bbox'] = box
    level, message = data.only()
    assert level == 'error' and 'annotations[7] has bbox' in message and 'expected 4 finite numbers' in message


# --- ids


@pytest.mark.parametrize(('section', 'kind'), [('images', 'image'), ('annotations', 'annotation'),
                                               ('categories', 'category')])
def test_duplicate_ids(data: Data, section: str, kind: str) -> None:
    data.train[section].append(dict(data.train[section][1], name='fish', file_name='001.jpg'))
    messages = [finding.message for finding in data.check() if finding.level == 'error']
    assert any(f'1 {kind} ids occur more than once (2)' in message for message in messages)


def test_categories_of_the_same_name(data: Data) -> None:
    data.train['categories'].append({'id': 9, 'name': 'dog'})
    level, message = data.only()
    assert level == 'error' and 'categories of the same name: dog' in message


def test_annotation_of_an_unlisted_image(data: Data) -> None:
    data.train['annotations'][0]['image_id'] = 99
    level, message = data.only()
    assert level == 'warning' and '1 of 30 annotations name an image that is not listed (image_id 99' in message


def test_image_ids_of_another_type(data: Data) -> None:
    for annotation in data.train['annotations']:
        annotation['image_id'] = str(annotation['image_id'])
    findings = data.check()
    assert 'image_id is a str there and the id of an image a int' in findings[0].message
    assert any(finding.level == 'error' and 'none of its 10 images can be used' in finding.message
               for finding in findings)


def test_annotation_of_an_unlisted_category(data: Data) -> None:
    data.train['annotations'][0]['category_id'] = 44
    level, message = data.only()
    assert level == 'error'
    assert '1 of 30 annotations have a category_id that is not listed (44; listed: 1, 2, 3)' in message


# --- classes


def test_categories_that_metainfo_does_not_know(data: Data) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'Dog', 'horse')}
    level, message = data.only()
    assert level == 'error'
    assert 'has 3 categories (cat, dog, bird), and 2 of the 3 names' in message
    assert 'train_dataloader.dataset.metainfo.classes' in message
    assert 'are not among them: Dog, horse; not expected: dog, bird' in message
    assert "'Dog' is 'dog' in the file" in message
    assert "metainfo=dict(classes=('cat', 'dog', 'bird')) and the heads num_classes=3" in message


def test_metainfo_forgotten(data: Data) -> None:
    """The commonest fault: a data set of one's own with the 80 classes of COCO still expected."""
    del data.dataset['metainfo']
    messages = [finding.message for finding in data.check() if finding.level == 'error']
    assert len(messages) == 2
    assert "77 of the 80 names in the dataset's own classes" in messages[0]
    assert '(train_dataloader.dataset has no metainfo.classes)' in messages[0]
    assert "metainfo=dict(classes=('cat', 'dog', 'bird'))" in messages[0]


def test_metainfo_of_mmdet_2(data: Data) -> None:
    data.dataset['metainfo'] = {'CLASSES': NAMES}
    level, message = data.only()
    assert level == 'error' and "has 'CLASSES', which mmdet 3 does not read" in message


def test_classes_without_a_comma(data: Data) -> None:
    data.dataset['metainfo'] = {'classes': 'cat'}
    level, message = data.only()
    assert level == 'error' and "classes is the text 'cat'" in message and "write a tuple, ('cat',)" in message


def test_classes_from_a_file(data: Data, tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\nbird\n')
    data.dataset['metainfo'] = {'classes': str(tmp_path / 'classes.txt')}
    assert data.check() == []


def test_training_on_some_of_the_classes_is_allowed_and_said(data: Data) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'bird')}
    for head in (*data.cfg['model']['roi_head']['bbox_head'], data.cfg['model']['roi_head']['mask_head']):
        head['num_classes'] = 2
    level, message = data.only()
    assert level == 'warning' and '1 categories are not in' in message and 'dog; their 10 annotations' in message


def test_parent_entry_of_an_exporter_is_explained(data: Data) -> None:
    data.train['categories'].insert(0, {'id': 0, 'name': 'animal', 'supercategory': 'none'})
    level, message = data.only()
    assert level == 'warning' and 'animal (animal only groups the others); their 0 annotations' in message


def test_classes_in_another_order(data: Data) -> None:
    data.dataset['metainfo'] = {'classes': ('dog', 'cat', 'bird')}
    level, message = data.only()
    assert level == 'error'
    assert "label 0 is 'cat' in the file and 'dog' there" in message
    assert "metainfo=dict(classes=('cat', 'dog', 'bird'))" in message


@pytest.mark.parametrize(('change', 'option'), [
    (lambda model: model['roi_head']['bbox_head'][1].update(num_classes=80), 'model.roi_head.bbox_head.1.num_classes'),
    (lambda model: model['roi_head']['mask_head'].update(num_classes=80), 'model.roi_head.mask_head.num_classes'),
    (lambda model: model.update(bbox_head={'num_classes': 80}), 'model.bbox_head.num_classes'),
])
def test_num_classes_of_any_head(data: Data, change: Callable[[dict], None], option: str) -> None:
    change(data.cfg['model'])
    level, message = data.only()
    assert level == 'error'
    assert f'has 3 classes (cat, dog, bird), and the model expects another number: {option}=80' in message
    assert f'--cfg-options {option}=3' in message


# --- what is left to learn


def test_all_images_too_small(data: Data) -> None:
    data.dataset['filter_cfg']['min_size'] = 64
    level, message = data.only()
    assert level == 'error'
    assert 'none of its 10 images can be used for training: 10 are smaller than min_size=64 pixels' in message


def test_no_annotations(data: Data) -> None:
    data.train['annotations'].clear()
    level, message = data.only()
    assert level == 'error' and '10 have no annotation of the expected classes' in message


def test_crowds_alone(data: Data) -> None:
    for annotation in data.train['annotations']:
        annotation['iscrowd'] = 1
    level, message = data.only()
    assert level == 'error' and 'all other annotations are crowds (iscrowd)' in message


def test_no_images(data: Data) -> None:
    data.train['images'].clear()
    data.train['annotations'].clear()
    level, message = data.only()
    assert level == 'error' and 'lists no images' in message


# --- boxes and masks


@pytest.mark.parametrize(('box', 'expected'), [
    ([10, 10, 0, 5], '1 boxes have a width or height of zero or less (in 004.jpg)'),
    ([10, 10, 5, -5], '1 boxes have a width or height of zero or less (in 004.jpg)'),
    ([0.1, 0.1, 0.5, 0.3], '1 boxes are narrower than a pixel (in 004.jpg)'),
    ([200, 10, 20, 20], '1 boxes lie wholly outside their image (in 004.jpg)'),
    ([50, 30, 70, 55], '1 boxes reach beyond the edge of their image (in 004.jpg)'),
])
def test_boxes_that_cannot_be_right(data: Data, box: list[float], expected: str) -> None:
    data.train['annotations'][3]['bbox'] = box
    level, message = data.only()
    assert level == 'warning' and expected in message


def test_rounding_over_the_edge_is_forgiven(data: Data) -> None:
    data.train['annotations'][3]['bbox'] = [-0.4, 0, 80.6, 60.2]
    assert data.check() == []


def test_area_of_zero(data: Data) -> None:
    data.train['annotations'][3]['area'] = 0
    level, message = data.only()
    assert level == 'warning' and '1 annotations have an area of zero or less (in 004.jpg)' in message


@pytest.mark.parametrize('empty', [None, []])
def test_no_masks_for_a_mask_head(data: Data, empty: list | None) -> None:
    for annotation in data.train['annotations']:
        annotation['segmentation'] = empty
    level, message = data.only()
    assert level == 'error'
    assert 'none of its 30 annotations has a segmentation, and model.roi_head.mask_head needs masks' in message
    assert 'configs/cascade_rcnn_swin_t_coco.py' in message


def test_some_masks_missing(data: Data) -> None:
    del data.train['annotations'][2]['segmentation']
    level, message = data.only()
    assert level == 'error' and '1 of its 30 annotations have no segmentation' in message


def test_boxes_alone_are_enough_without_a_mask_head(data: Data) -> None:
    for annotation in data.train['annotations']:
        del annotation['segmentation']
    del data.cfg['model']['roi_head']['mask_head']
    data.dataset['pipeline'][1] = {'type': 'LoadAnnotations', 'with_bbox': True}
    assert data.check() == []


# --- image files


def bad_images(data: Data, number: int, split: str = 'train') -> None:
    """Make a large data set out of the small one, and delete some of its images."""
    part, folder = data.parts[split], data.root / f'{split}2017'
    for index in range(11, 201):
        part['images'].append({'id': index, 'file_name': f'{index:03d}.jpg', 'width': 80, 'height': 60})
        os.link(folder / '001.jpg', folder / f'{index:03d}.jpg')
    for index in range(2, 2 + number):
        (folder / f'{index:03d}.jpg').unlink()


def test_few_missing_images_are_a_warning(data: Data) -> None:
    bad_images(data, 2)
    level, message = data.only()
    assert level == 'warning'
    assert '2 of 200 images (1.00%) are missing or do not decode' in message and 'Training skips them' in message
    assert f'{data.root}/train2017/002.jpg (missing), {data.root}/train2017/003.jpg (missing)' in message


def test_many_missing_images_are_an_error(data: Data) -> None:
    bad_images(data, 3)
    level, message = data.only()
    assert level == 'error' and '3 of 200 images (1.50%)' in message and 'At most 1.00% may be skipped' in message


def test_one_missing_image_in_a_small_data_set_is_an_error(data: Data) -> None:
    (data.root / 'train2017' / '005.jpg').unlink()
    level, message = data.only()
    assert level == 'error' and '1 of 10 images (10.00%)' in message and '005.jpg (missing)' in message


def test_a_pipeline_that_cannot_skip(data: Data) -> None:
    bad_images(data, 1)
    data.dataset['pipeline'][0] = {'type': 'LoadImageFromFile'}
    level, message = data.only()
    assert level == 'error' and "or load with type='mmswin.LoadImageFromFile'" in message


def test_testing_cannot_skip(data: Data) -> None:
    bad_images(data, 1, 'val')
    level, message = data.only(('val', ))
    assert level == 'error' and 'This pipeline cannot skip an image: restore the files' in message
    assert 'mmswin.LoadImageFromFile' not in message


def test_all_images_elsewhere(data: Data) -> None:
    for image in data.train['images']:
        image['file_name'] = f'train2017/{image["file_name"]}'
    level, message = data.only()
    assert level == 'error' and 'none of the 10 images' in message
    assert "looked for 'train2017/001.jpg'; the directory holds 10 entries, such as '001.jpg'" in message


def test_images_that_do_not_decode(data: Data) -> None:
    folder = data.root / 'train2017'
    whole = (folder / '001.jpg').read_bytes()
    (folder / '001.jpg').write_bytes(whole[:len(whole) // 2])
    (folder / '002.jpg').write_bytes(b'not an image at all')
    (folder / '003.jpg').write_bytes(b'')
    assert data.check() == []
    level, message = data.only(decode=True)
    assert level == 'error' and '3 of 10 images (30.00%)' in message
    assert '001.jpg (image file is truncated' in message
    assert '002.jpg (not an image)' in message and '003.jpg (empty file)' in message


# --- evaluation


def test_metric_reads_a_file_that_does_not_exist(data: Data) -> None:
    data.cfg['val_evaluator']['ann_file'] = 'data/coco/annotations/instances_val2017.json'
    level, message = data.only(('val', ))
    assert level == 'error' and 'the annotation file of the metric' in message
    assert f'--cfg-options val_evaluator.ann_file={data.file("val")}' in message


def test_metric_reads_another_file(data: Data) -> None:
    data.cfg['val_evaluator'] = [{'type': 'CocoMetric', 'ann_file': str(data.file('train'))}]
    level, message = data.only(('val', ))
    assert level == 'error' and 'results would be compared with the annotations of other images' in message
    assert '--cfg-options val_evaluator.0.ann_file=' in message


def test_metric_needs_iscrowd(data: Data) -> None:
    del data.parts['val']['annotations'][0]['iscrowd']
    level, message = data.only(('val', ))
    assert level == 'error' and "the key 'iscrowd' is missing in 1 of 30 annotations" in message


def test_images_to_predict_on_need_no_annotations(data: Data) -> None:
    del data.parts['val']['annotations']
    data.cfg['test_dataloader'] = data.cfg['val_dataloader']
    level, message = data.only(('val', ))
    assert level == 'error' and "the list 'annotations' is missing" in message
    assert data.check(('test', )) == []


# --- wrappers, other kinds of data, surroundings


@pytest.mark.parametrize(('wrap', 'where'), [
    (lambda inner: {'type': 'RepeatDataset', 'times': 2, 'dataset': inner}, 'train_dataloader.dataset.dataset'),
    (lambda inner: {'type': 'ClassBalancedDataset', 'dataset': inner}, 'train_dataloader.dataset.dataset'),
    (lambda inner: {'type': 'ConcatDataset', 'datasets': [dict(inner, metainfo={'classes': NAMES}), inner]},
     'train_dataloader.dataset.datasets.1'),
    (lambda inner: {'type': 'MultiImageMixDataset', 'dataset': {'type': 'RepeatDataset', 'dataset': inner}},
     'train_dataloader.dataset.dataset.dataset'),
])
def test_wrapped_datasets(data: Data, wrap: Callable[[dict], dict], where: str) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'dog', 'horse')}
    data.cfg['train_dataloader']['dataset'] = wrap(data.dataset)
    level, message = data.only()
    assert level == 'error' and f'{where}.metainfo.classes are not among them: horse' in message


def test_segmentation_directories(tmp_path: Path) -> None:
    (tmp_path / 'images').mkdir()
    cfg = {'default_scope': 'mmseg', 'train_dataloader': {'dataset': {
        'type': 'BaseSegDataset', 'data_root': str(tmp_path),
        'data_prefix': {'img_path': 'images', 'seg_map_path': 'annotations'}}}}
    findings = check_config(cfg, ('train', ))
    assert len(findings) == 1 and findings[0].level == 'error'
    assert 'train_dataloader.dataset.data_prefix.seg_map_path' in findings[0].message
    assert 'COCO' not in findings[0].message
    (tmp_path / 'annotations').mkdir()
    cfg['train_dataloader']['dataset']['type'] = 'BaseCDDataset'
    report = inspect_config(cfg, ('train', ))
    assert report.findings == []
    assert report.summaries == [
        'train: train_dataloader.dataset exists; the contents of a BaseCDDataset are not checked'
    ]


def test_needs_json_and_numpy_alone(data: Data) -> None:
    data.write()
    program = f"""
import sys
for name in ('torch', 'mmengine', 'mmcv', 'mmdet', 'cv2', 'PIL'):
    sys.modules[name] = None
from mmswin.datasets.checks import check_config
findings = check_config({data.cfg!r}, ('train', 'val'))
assert findings == [], findings
import mmswin.datasets
try:
    mmswin.datasets.LoadImageFromFile
except ImportError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert 'mmswin.datasets.LoadImageFromFile needs mmcv and mmengine' in result.stdout
