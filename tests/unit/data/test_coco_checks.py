"""Faults of annotation files and classes that users are known to meet: each gets a message of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# --- the file


def test_truncated_annotation_file(data) -> None:
    data.write()
    whole = data.file().read_text()
    # Cut in a number, in a string, after a comma, after a colon and after an opened list.
    cuts = [len(whole) // 2 + offset for offset in range(0, 60, 3)]
    for cut in cuts:
        data.file().write_text(whole[:cut])
        level, message = data.only(write=False)
        assert level == 'error'
        assert f'{data.file()} is truncated: the JSON text ends in the middle, after {cut} bytes' in message, cut


@pytest.mark.parametrize(
    ('content', 'expected'),
    [
        (b'', 'is empty (0 bytes)'),
        (b'PK\x03\x04\xff\xfe\xff', 'is not JSON: it is a zip archive, unpack it'),
        (b'\xff\xd8\xff\xe0\x00', 'is not JSON: it is not text'),
        (b'<html>404 Not Found</html>\n', 'is not JSON: Expecting value at line 1, column 1'),
        (b'[1, 2, 3]', 'it holds a JSON list, and COCO is an object with images, annotations, categories'),
        (b'{"metainfo": {}, "data_list": []}', "the list 'images' is missing (found: metainfo, data_list)"),
        (b'{"images": [], "annotations": []}', "the list 'categories' is missing (found: images, annotations)"),
        (b'{"images": [], "annotations": null, "categories": []}', "'annotations' is a JSON NoneType, expected a list"),
        (b'{"images": [7], "annotations": [], "categories": []}', 'images[0] is a JSON int, expected an object'),
    ],
)
def test_files_that_are_not_coco(data, content: bytes, expected: str) -> None:
    data.write()
    data.file().write_bytes(content)
    level, message = data.only(write=False)
    assert level == 'error' and message.startswith(str(data.file())) and expected in message


@pytest.mark.parametrize(
    ('section', 'key', 'expected'),
    [
        (
            'images',
            'file_name',
            "1 of 10 images cannot be loaded by mmdet: the key 'file_name' is missing (the first: id 5)",
        ),
        ('images', 'width', "the key 'width' is missing"),
        ('annotations', 'bbox', "1 of 30 annotations cannot be loaded by mmdet: the key 'bbox' is missing"),
        ('annotations', 'area', "the key 'area' is missing"),
    ],
)
def test_missing_keys(data, section: str, key: str, expected: str) -> None:
    del data.train[section][4][key]
    level, message = data.only()
    assert level == 'error' and expected in message


@pytest.mark.parametrize('box', [[1, 2, 3], [1, 2, 3, float('inf')], [1, 2, 3, 'wide'], None, [1, 2, 3, 4, 5]])
def test_boxes_that_are_no_boxes(data, box: Any) -> None:
    data.train['annotations'][7]['bbox'] = box
    level, message = data.only()
    assert (
        level == 'error'
        and '1 of 30 annotations cannot be loaded' in message
        and 'bbox is not four finite numbers' in message
    )


# --- ids


@pytest.mark.parametrize(
    ('section', 'kind'), [('images', 'image'), ('annotations', 'annotation'), ('categories', 'category')]
)
def test_duplicate_ids(data, section: str, kind: str) -> None:
    data.train[section].append(dict(data.train[section][1], name='fish', file_name='001.jpg'))
    messages = [finding.message for finding in data.check() if finding.level == 'error']
    assert any(f'1 {kind} ids occur more than once (2)' in message for message in messages)


def test_categories_of_the_same_name(data) -> None:
    data.train['categories'].append({'id': 9, 'name': 'dog'})
    level, message = data.only()
    assert level == 'error' and 'categories of the same name: dog' in message


def test_annotation_of_an_unlisted_image(data) -> None:
    data.train['annotations'][0]['image_id'] = 99
    level, message = data.only()
    assert level == 'warning' and '1 of 30 annotations name an unlisted image (image_id 99' in message


def test_image_ids_of_another_type(data) -> None:
    for annotation in data.train['annotations']:
        annotation['image_id'] = str(annotation['image_id'])
    findings = data.check()
    assert 'image_id is a str, and ids of images are of type int' in findings[0].message
    assert any(
        finding.level == 'error' and 'none of its 10 images can be used' in finding.message for finding in findings
    )


def test_annotation_of_an_unlisted_category(data) -> None:
    data.train['annotations'][0]['category_id'] = 44
    level, message = data.only()
    assert level == 'warning'
    assert '1 of 30 annotations name an unlisted category (category_id 44; listed: 1, 2, 3)' in message


# --- boxes and masks


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ([10, 10, 0, 5], '1 annotations (in 004.jpg) have a box with a width or height of zero or less'),
        ([10, 10, 5, -5], '1 annotations (in 004.jpg) have a box with a width or height of zero or less'),
        ([0.1, 0.1, 0.5, 0.3], '1 annotations (in 004.jpg) have a box narrower than a pixel'),
        ([200, 10, 20, 20], '1 annotations (in 004.jpg) lie wholly outside their image'),
        ([50, 30, 70, 55], '1 boxes reach beyond the edge of their image (in 004.jpg)'),
    ],
)
def test_boxes_that_cannot_be_right(data, box: list[float], expected: str) -> None:
    data.train['annotations'][3]['bbox'] = box
    level, message = data.only()
    assert level == 'warning' and expected in message


def test_rounding_over_the_edge_is_forgiven(data) -> None:
    data.train['annotations'][3]['bbox'] = [-0.4, 0, 80.6, 60.2]
    assert data.check() == []


def test_area_of_zero(data) -> None:
    data.train['annotations'][3]['area'] = 0
    level, message = data.only()
    assert level == 'warning' and '1 annotations (in 004.jpg) have an area of zero or less' in message


@pytest.mark.parametrize('empty', [None, []])
def test_no_masks_for_a_mask_head(data, empty: list | None) -> None:
    for annotation in data.train['annotations']:
        annotation['segmentation'] = empty
    level, message = data.only()
    assert level == 'error'
    assert 'none of the 30 annotations can be loaded' in message and 'no segmentation' in message
    assert 'configs/cascade_rcnn_swin_t_coco.py' in message


def test_some_masks_missing(data) -> None:
    del data.train['annotations'][2]['segmentation']
    level, message = data.only()
    assert level == 'error' and '1 of 30 annotations cannot' in message and 'no segmentation' in message


def test_boxes_alone_are_enough_without_a_mask_head(data) -> None:
    for annotation in data.train['annotations']:
        del annotation['segmentation']
    del data.cfg['model']['roi_head']['mask_head']
    data.dataset['pipeline'][1] = {'type': 'LoadAnnotations', 'with_bbox': True}
    assert data.check() == []


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
    assert level == 'error' and 'all annotations are crowds (iscrowd)' in message


def test_no_images(data) -> None:
    data.train['images'].clear()
    data.train['annotations'].clear()
    level, message = data.only()
    assert level == 'error' and 'lists no images' in message


@pytest.mark.parametrize('key', ['bbox', 'area'])
def test_numbers_as_text(data, key: str) -> None:
    for annotation in data.train['annotations']:
        annotation[key] = [str(v) for v in annotation[key]] if key == 'bbox' else str(annotation[key])
    level, message = next((f.level, f.message) for f in data.check() if key in f.message)
    assert level == 'error' and 'none of the 30 annotations can be loaded' in message and 'number' in message


def test_annotations_marked_ignore_are_counted_out(data) -> None:
    for annotation in data.train['annotations']:
        annotation['ignore'] = 1
    warning, error = data.check()
    assert warning.level == 'warning' and '30 annotations' in warning.message and '"ignore"' in warning.message
    assert error.level == 'error' and 'none of its 10 images can be used' in error.message


def test_an_annotation_with_the_id_0_is_never_matched(data) -> None:
    """COCOeval itself: the truth as prediction has AP 1 only where no id is 0."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    data.parts['val']['annotations'] = data.parts['val']['annotations'][:1]
    precision = {}
    for number in (0, 1):
        data.parts['val']['annotations'][0]['id'] = number
        found = [finding for finding in data.check(('val',)) if 'id 0' in finding.message]
        assert [finding.level for finding in found] == ['warning'] * (number == 0)
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO(str(data.file('val')))
            same = [{**annotation, 'score': 1.0} for annotation in data.parts['val']['annotations']]
            metric = COCOeval(truth, truth.loadRes(same), 'bbox')
            metric.evaluate()
            metric.accumulate()
            metric.summarize()
        precision[number] = metric.stats[0]
    assert precision[0] < 1 and precision[1] == pytest.approx(1)


def test_classes_that_the_file_lacks_at_its_end(data) -> None:
    """The labels are numbered rightly all the same."""
    data.dataset['metainfo'] = {'classes': (*data.dataset['metainfo']['classes'], 'fish')}
    data.cfg['model'] = {}
    level, message = data.only()
    assert level == 'warning' and 'fish' in message


def test_what_strangers_wrote_is_escaped(data) -> None:
    data.train['categories'][1]['name'] = 'dog\x1b[31m'
    assert all('\x1b' not in finding.message for finding in data.check()) and data.check()
