"""Faults in the annotation file, in ids and boxes: each that users are known to meet gets its own message."""

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
        ('images', 'file_name', "the key 'file_name' is missing in 1 of 10 images (first in images[4])"),
        ('images', 'width', "the key 'width' is missing in 1 of 10 images"),
        ('annotations', 'bbox', "the key 'bbox' is missing in 1 of 30 annotations"),
        ('annotations', 'area', "the key 'area' is missing in 1 of 30 annotations"),
    ],
)
def test_missing_keys(data, section: str, key: str, expected: str) -> None:
    del data.train[section][4][key]
    level, message = data.only()
    assert level == 'error' and expected in message


@pytest.mark.parametrize('box', [[1, 2, 3], [1, 2, 3, float('nan')], [1, 2, 3, 'wide'], None, [1, 2, 3, 4, 5]])
def test_boxes_that_are_no_boxes(data, box: Any) -> None:
    data.train['annotations'][7]['bbox'] = box
    level, message = data.only()
    assert level == 'error' and 'annotations[7] has bbox' in message and 'expected 4 finite numbers' in message


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
    assert level == 'warning' and '1 of 30 annotations name an image that is not listed (image_id 99' in message


def test_image_ids_of_another_type(data) -> None:
    for annotation in data.train['annotations']:
        annotation['image_id'] = str(annotation['image_id'])
    findings = data.check()
    assert 'image_id is a str there and the id of an image a int' in findings[0].message
    assert any(
        finding.level == 'error' and 'none of its 10 images can be used' in finding.message for finding in findings
    )


def test_annotation_of_an_unlisted_category(data) -> None:
    data.train['annotations'][0]['category_id'] = 44
    level, message = data.only()
    assert level == 'error'
    assert '1 of 30 annotations have a category_id that is not listed (44; listed: 1, 2, 3)' in message


# --- boxes and masks


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ([10, 10, 0, 5], '1 boxes have a width or height of zero or less (in 004.jpg)'),
        ([10, 10, 5, -5], '1 boxes have a width or height of zero or less (in 004.jpg)'),
        ([0.1, 0.1, 0.5, 0.3], '1 boxes are narrower than a pixel (in 004.jpg)'),
        ([200, 10, 20, 20], '1 boxes lie wholly outside their image (in 004.jpg)'),
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
    assert level == 'warning' and '1 annotations have an area of zero or less (in 004.jpg)' in message


@pytest.mark.parametrize('empty', [None, []])
def test_no_masks_for_a_mask_head(data, empty: list | None) -> None:
    for annotation in data.train['annotations']:
        annotation['segmentation'] = empty
    level, message = data.only()
    assert level == 'error'
    assert 'none of its 30 annotations has a segmentation, and model.roi_head.mask_head needs masks' in message
    assert 'configs/cascade_rcnn_swin_t_coco.py' in message


def test_some_masks_missing(data) -> None:
    del data.train['annotations'][2]['segmentation']
    level, message = data.only()
    assert level == 'error' and '1 of its 30 annotations have no segmentation' in message


def test_boxes_alone_are_enough_without_a_mask_head(data) -> None:
    for annotation in data.train['annotations']:
        del annotation['segmentation']
    del data.cfg['model']['roi_head']['mask_head']
    data.dataset['pipeline'][1] = {'type': 'LoadAnnotations', 'with_bbox': True}
    assert data.check() == []
