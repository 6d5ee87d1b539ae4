"""What is called usable is what mmdet's own ``parse_data_info`` and ``LoadAnnotations`` make usable."""

import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmdet.datasets.transforms import LoadAnnotations

from mmswin.data.annotations import AnnotationFileError, _fatal, judge, read_coco

BIG, HUGE = 10**9, 10**4000
SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]
SOUND = {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [10, 10, 20, 20], 'area': 400, 'iscrowd': 0,
         'segmentation': [SQUARE]}  # fmt: skip
RUNS = {'size': [48, 64], 'counts': [100, 20, 48 * 64 - 120]}
GONE = object()

# What stands in an annotation in place of the sound values.
ANNOTATIONS: dict[str, dict[str, Any]] = {
    'sound': {},
    'no iscrowd': {'iscrowd': GONE},
    'crowd': {'iscrowd': 1, 'segmentation': RUNS},
    'crowd as text': {'iscrowd': '0'},
    'crowd is null': {'iscrowd': None},
    'ignore': {'ignore': 1},
    'ignore as text': {'ignore': '0'},
    'ignore false': {'ignore': False},
    'box as text': {'bbox': ['10', '10', '20', '20']},
    'box of three': {'bbox': [1, 2, 3]},
    'box of five': {'bbox': [1, 2, 3, 4, 5]},
    'box is null': {'bbox': None},
    'box is empty': {'bbox': []},
    'box is an object': {'bbox': {'x': 1, 'y': 2, 'w': 3, 'h': 4}},
    'box is a text': {'bbox': '1234'},
    'box in a list': {'bbox': [[10, 10, 20, 20]]},
    'no box': {'bbox': GONE},
    'box with null': {'bbox': [10, 10, None, 20]},
    'box of booleans': {'bbox': [True, True, True, True]},
    'box with nan': {'bbox': [10, 10, math.nan, 20]},
    'box left nan': {'bbox': [math.nan, 10, 20, 20]},
    'box infinite': {'bbox': [10, 10, math.inf, 20]},
    'box minus infinite': {'bbox': [-math.inf, 10, 20, 20]},
    'box beyond float32': {'bbox': [10, 10, 1e300, 20]},
    'box of 4000 digits': {'bbox': [10, 10, HUGE, 20]},
    'box at 4000 digits': {'bbox': [HUGE, 10, 20, 20]},
    'box negative': {'bbox': [10, 10, -20, 20]},
    'box flat': {'bbox': [10, 10, 20, 0]},
    'box thin': {'bbox': [10, 10, 0.5, 20]},
    'box in fractions': {'bbox': [0.1, 0.1, 0.3, 0.3]},
    'box outside': {'bbox': [100, 10, 20, 20]},
    'box above': {'bbox': [10, -30, 20, 20]},
    'box over the edge': {'bbox': [50, 30, 60, 50]},
    'area 0': {'area': 0},
    'area negative': {'area': -3},
    'area as text': {'area': '400'},
    'area null': {'area': None},
    'area nan': {'area': math.nan},
    'area of 4000 digits': {'area': HUGE},
    'area a list': {'area': [400]},
    'no area': {'area': GONE},
    'other category': {'category_id': 2},
    'unlisted category': {'category_id': 77},
    'category as text': {'category_id': '1'},
    'category null': {'category_id': None},
    'category a list': {'category_id': [1]},
    'no category': {'category_id': GONE},
    'category of 4000 digits': {'category_id': HUGE},
    'category 1.0': {'category_id': 1.0},
    'other image': {'image_id': 99},
    'image as text': {'image_id': '1'},
    'image a list': {'image_id': [1]},
    'image an object': {'image_id': {}},
    'id a list': {'id': [1]},
    'id null': {'id': None},
    'id of 4000 digits': {'id': HUGE},
    'id as text': {'id': 'one'},
    'no id': {'id': GONE},
    'id 0': {'id': 0},
    'flat polygon': {'segmentation': SQUARE},
    'polygon of odd length': {'segmentation': [SQUARE[:7]]},
    'polygon of two points': {'segmentation': [SQUARE[:4]]},
    'one polygon of two is short': {'segmentation': [SQUARE[:4], SQUARE]},
    'polygon empty': {'segmentation': [[]]},
    'no polygons': {'segmentation': []},
    'segmentation null': {'segmentation': None},
    'no segmentation': {'segmentation': GONE},
    'segmentation a number': {'segmentation': 5},
    'segmentation a text': {'segmentation': 'polygon'},
    'segmentation true': {'segmentation': True},
    'polygon a number': {'segmentation': [5]},
    'polygon a text': {'segmentation': ['abcdef']},
    'polygon null': {'segmentation': [None]},
    'polygon of text numbers': {'segmentation': [[str(v) for v in SQUARE]]},
    'polygon of words': {'segmentation': [['a', 'b', 'c', 'd', 'e', 'f']]},
    'polygon of pairs': {'segmentation': [[[10, 10], [30, 10], [30, 30], [10, 30], [10, 20], [10, 15]]]},
    'polygon of objects': {'segmentation': [[{'x': 1}] * 6]},
    'polygons in an object': {'segmentation': {'polygons': [SQUARE]}},
    'polygon an object': {'segmentation': [{'x': 1}]},
    'polygon of booleans': {'segmentation': [[True, False] * 4]},
    'polygon outside': {'segmentation': [[v + 500 for v in SQUARE]]},
    'polygon negative': {'segmentation': [[-v for v in SQUARE]]},
    'run lengths': {'segmentation': RUNS},
    'run lengths compressed': {'segmentation': {'size': [48, 64], 'counts': 'T3d0\\l2'}},
    'run lengths without size': {'segmentation': {'counts': [1, 2]}},
    'run lengths without counts': {'segmentation': {'size': [48, 64]}},
    'run lengths counts a number': {'segmentation': {'size': [48, 64], 'counts': 7}},
    'run lengths of another size': {'segmentation': {'size': [8, 8], 'counts': [10, 10, 44]}},
    'run lengths turned': {'segmentation': {'size': [64, 48], 'counts': RUNS['counts']}},
    'run lengths size a number': {'segmentation': {'size': 5, 'counts': [1, 2]}},
    'run lengths size null': {'segmentation': {'size': None, 'counts': [1, 2]}},
    'run lengths of words': {'segmentation': {'size': [48, 64], 'counts': ['a', 'b']}},
}  # fmt: skip
IMAGES: dict[str, dict[str, Any]] = {
    'no file name': {'file_name': GONE},
    'file name null': {'file_name': None},
    'file name a number': {'file_name': 7},
    'file name a list': {'file_name': ['1.jpg']},
    'file name empty': {'file_name': ''},
    'no width': {'width': GONE},
    'width as text': {'width': '64'},
    'width null': {'width': None},
    'width a list': {'width': [64]},
    'width nan': {'width': math.nan},
    'width 0': {'width': 0},
    'width negative': {'width': -64},
    'width a fraction': {'width': 64.0},
    'height of 4000 digits': {'height': HUGE},
    'too small': {'width': 4},
    'id a list': {'id': [1]},
    'no id': {'id': GONE},
}
# These end the process in pycocotools, or take all memory: they must not reach it.
FATAL: dict[str, dict[str, Any]] = {
    'polygon with null': {'segmentation': [[10, 10, None, 10, 30, 30]]},
    'run lengths of 10^9 x 10^9': {'segmentation': {'size': [BIG, BIG], 'counts': [BIG]}},
    'run lengths too long': {'segmentation': {'size': [48, 64], 'counts': [100, BIG]}},
    'run lengths too short': {'segmentation': {'size': [48, 64], 'counts': [100]}},
    'run lengths negative': {'segmentation': {'size': [48, 64], 'counts': [-100, 48 * 64 + 100]}},
    'run lengths damaged': {'segmentation': {'size': [48, 64], 'counts': 'zzzzzz~~~~~~'}},
    'polygon with nan': {'segmentation': [[10, 10, math.nan, 10, 30, 30]]},
    'polygon infinite': {'segmentation': [[10, 10, math.inf, 10, 30, 30]]},
    'polygon of 10^9': {'segmentation': [[10, 10, BIG, 10, 30, 30]]},
    'polygon of 4000 digits': {'segmentation': [[10, 10, HUGE, 10, 30, 30]]},
    'polygon of huge text': {'segmentation': [['10', '10', '1e300', '10', '30', '30']]},
}


def changed(entry: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in {**entry, **change}.items() if value is not GONE}


def write(path: Path, annotation: dict[str, Any], image: dict[str, Any]) -> Path:
    """Two images; the first and its annotation are changed, the second is sound."""
    images = [{'id': number, 'file_name': f'{number}.jpg', 'width': 64, 'height': 48} for number in (1, 2)]
    content = {
        'images': [changed(images[0], image), images[1]],
        'annotations': [changed(SOUND, annotation), {**SOUND, 'id': 2, 'image_id': 2}],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 2, 'name': 'dog'}],
    }
    path.write_text(json.dumps(content))
    return path


def dataset(path: Path, **options: Any) -> CocoDataset:
    filters = {'filter_empty_gt': True, 'min_size': 8}
    names = {'classes': ('cat',)}
    return CocoDataset(ann_file=str(path), data_prefix={'img': 'x/'}, metainfo=names, filter_cfg=filters, **options)


def by_mmdet(path: Path, loader: LoadAnnotations) -> list[list[bool]] | str:
    """For each image that is left whether each of its objects is learned from; 'stops' if mmdet ends on the way."""
    try:
        data = dataset(path, serialize_data=False)
        found = []
        for record in data.data_list:
            loaded = loader.transform({**copy.deepcopy(record), 'ori_shape': (48, 64)})
            if not np.isfinite(loaded['gt_bboxes'].tensor.numpy()).all():
                return 'stops'  # a loss that is not a number
            found.append(sorted((~loaded['gt_ignore_flags']).tolist()))
        return found
    except Exception:
        return 'stops'


def by_us(path: Path, loader: LoadAnnotations) -> list[list[bool]] | str:
    try:
        result = judge(dataset(path, lazy_init=True), read_coco(str(path)), loader)
    except AnnotationFileError:
        return 'stops'
    if result.stops:
        return 'stops'
    return [sorted(not one['ignore_flag'] for one in record['instances']) for record in result.records]


@pytest.mark.parametrize('with_mask', [False, True])
@pytest.mark.parametrize('kind', [*ANNOTATIONS, *(f'image: {name}' for name in IMAGES)])
def test_agrees_with_mmdet(kind: str, with_mask: bool, tmp_path: Path) -> None:
    name = kind.removeprefix('image: ')
    change = ({}, IMAGES[name]) if name != kind else (ANNOTATIONS[name], {})
    path, loader = write(tmp_path / 'a.json', *change), LoadAnnotations(with_mask=with_mask)
    assert by_us(path, loader) == by_mmdet(path, loader)


@pytest.mark.parametrize('kind', FATAL)
def test_masks_that_pycocotools_does_not_survive_never_reach_it(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / 'a.json', FATAL[kind], {})
    assert by_us(path, LoadAnnotations(with_mask=True)) == 'stops'
    assert by_us(path, LoadAnnotations()) == [[True], [True]], 'nothing reads the masks'


def test_polygons_kept_as_polygons(tmp_path: Path) -> None:
    """With ``poly2mask=False`` mmdet ignores run lengths."""
    loader = LoadAnnotations(with_mask=True, poly2mask=False)
    for change in ({}, {'segmentation': RUNS}, {'segmentation': [SQUARE[:7]]}):
        path = write(tmp_path / 'a.json', change, {})
        assert by_us(path, loader) == by_mmdet(path, loader)


@pytest.mark.parametrize(
    'content', ['', '{', '[1]', '{"images": []}', '{"images": [1], "categories": []}', '[' * 100000,
                '{"images": [], "categories": [], "annotations": null}', '{"images": [{"id": ' + '9' * 5000 + '}]}']
)  # fmt: skip
def test_files_that_are_not_coco(content: str, tmp_path: Path) -> None:
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(AnnotationFileError, match='a.json'):
        read_coco(str(tmp_path / 'a.json'))
    assert by_mmdet(tmp_path / 'a.json', LoadAnnotations()) == 'stops'


def test_an_image_without_a_size_is_named_and_not_its_annotations(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.json', {}, {'width': None})
    result = judge(dataset(path, lazy_init=True), read_coco(str(path)), LoadAnnotations())
    assert {key: [image['id'] for image in images] for (_, key), images in result.stops.items()} == {'width': [1]}


def test_run_lengths_without_an_end_take_no_time() -> None:
    start = time.process_time()
    assert (
        _fatal({'size': [48, 64], 'counts': 'o' * 600_000}, {'height': 48, 'width': 64})
        == 'run lengths that are damaged'
    )
    assert time.process_time() - start < 1
