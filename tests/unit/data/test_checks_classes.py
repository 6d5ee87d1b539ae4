"""Faults of classes, and of what is left to learn: each that users are known to meet gets its own message."""

from collections.abc import Callable
from pathlib import Path

import pytest

# --- classes


def test_categories_that_metainfo_does_not_know(data) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'Dog', 'horse')}
    level, message = data.only()
    assert level == 'error'
    assert 'has 3 categories (cat, dog, bird), and 2 of the 3 names' in message
    assert 'train_dataloader.dataset.metainfo.classes' in message
    assert 'are not among them: Dog, horse; not expected: dog, bird' in message
    assert "'Dog' is 'dog' in the file" in message
    assert "metainfo=dict(classes=('cat', 'dog', 'bird')) and the heads num_classes=3" in message


def test_metainfo_forgotten(data) -> None:
    """The commonest fault: a data set of one's own with the 80 classes of COCO still expected."""
    del data.dataset['metainfo']
    messages = [finding.message for finding in data.check() if finding.level == 'error']
    assert len(messages) == 2
    assert "77 of the 80 names in the dataset's own classes" in messages[0]
    assert '(train_dataloader.dataset has no metainfo.classes)' in messages[0]
    assert "metainfo=dict(classes=('cat', 'dog', 'bird'))" in messages[0]


def test_metainfo_of_mmdet_2(data) -> None:
    data.dataset['metainfo'] = {'CLASSES': ('cat', 'dog', 'bird')}
    level, message = data.only()
    assert level == 'error' and "has 'CLASSES', which mmdet 3 does not read" in message


def test_classes_without_a_comma(data) -> None:
    data.dataset['metainfo'] = {'classes': 'cat'}
    level, message = data.only()
    assert level == 'error' and "classes is the text 'cat'" in message and "write a tuple, ('cat',)" in message


def test_classes_from_a_file(data, tmp_path: Path) -> None:
    (tmp_path / 'classes.txt').write_text('cat\ndog\nbird\n')
    data.dataset['metainfo'] = {'classes': str(tmp_path / 'classes.txt')}
    assert data.check() == []


def test_training_on_some_of_the_classes_is_allowed_and_said(data) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'bird')}
    for head in (*data.cfg['model']['roi_head']['bbox_head'], data.cfg['model']['roi_head']['mask_head']):
        head['num_classes'] = 2
    level, message = data.only()
    assert level == 'warning' and '1 categories are not in' in message and 'dog; their 10 annotations' in message


def test_parent_entry_of_an_exporter_is_explained(data) -> None:
    data.train['categories'].insert(0, {'id': 0, 'name': 'animal', 'supercategory': 'none'})
    level, message = data.only()
    assert level == 'warning' and 'animal (animal only groups the others); their 0 annotations' in message


def test_classes_in_another_order(data) -> None:
    data.dataset['metainfo'] = {'classes': ('dog', 'cat', 'bird')}
    level, message = data.only()
    assert level == 'error'
    assert "label 0 is 'cat' in the file and 'dog' there" in message
    assert "metainfo=dict(classes=('cat', 'dog', 'bird'))" in message


@pytest.mark.parametrize(
    ('change', 'option'),
    [
        (
            lambda model: model['roi_head']['bbox_head'][1].update(num_classes=80),
            'model.roi_head.bbox_head.1.num_classes',
        ),
        (lambda model: model['roi_head']['mask_head'].update(num_classes=80), 'model.roi_head.mask_head.num_classes'),
        (lambda model: model.update(bbox_head={'num_classes': 80}), 'model.bbox_head.num_classes'),
    ],
)
def test_num_classes_of_any_head(data, change: Callable[[dict], None], option: str) -> None:
    change(data.cfg['model'])
    level, message = data.only()
    assert level == 'error'
    assert f'has 3 classes (cat, dog, bird), and the model expects another number: {option}=80' in message
    assert f'--cfg-options {option}=3' in message


# --- what is left to learn


def test_all_images_too_small(data) -> None:
    data.dataset['filter_cfg']['min_size'] = 64
    level, message = data.only()
    assert level == 'error'
    assert 'none of its 10 images can be used for training: 10 are smaller than min_size=64 pixels' in message


def test_no_annotations(data) -> None:
    data.train['annotations'].clear()
    level, message = data.only()
    assert level == 'error' and '10 have no annotation of the expected classes' in message


def test_crowds_alone(data) -> None:
    for annotation in data.train['annotations']:
        annotation['iscrowd'] = 1
    level, message = data.only()
    assert level == 'error' and 'all other annotations are crowds (iscrowd)' in message


def test_no_images(data) -> None:
    data.train['images'].clear()
    data.train['annotations'].clear()
    level, message = data.only()
    assert level == 'error' and 'lists no images' in message
