"""The miniature COCO: pycocotools reads it as it reads the real one, its masks lie where the shapes are drawn, the same
settings give the same files, and nothing that was not made by the generator is ever overwritten.
"""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmswin.data.miniature import (
    DEFAULT_CLASSES,
    MARKER,
    MiniatureError,
    MiniatureSettings,
    ensure_miniature_coco,
    is_complete,
    make_image,
    make_miniature_coco,
    parse_classes,
)
from mmswin.data.miniature_drawing import FORMS, draw, random_shape, visible_parts

SETTINGS = MiniatureSettings(num_train=60, num_val=40, image_size=96, seed=3)
TOOL = Path(__file__).resolve().parents[3] / 'tools' / 'make_miniature_coco.py'


def load(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature_coco(tmp_path_factory.mktemp('data') / 'coco', SETTINGS)


@pytest.fixture(scope='module', params=['train', 'val'])
def coco(request: pytest.FixtureRequest, root: Path) -> COCO:
    return load(root / 'annotations' / f'instances_{request.param}2017.json')


def test_layout_and_fields_are_those_of_coco(root: Path) -> None:
    for split, number in (('train', 60), ('val', 40)):
        content = json.loads((root / 'annotations' / f'instances_{split}2017.json').read_text())
        assert set(content) == {'info', 'licenses', 'images', 'annotations', 'categories'}
        assert set(content['info']) == {'description', 'url', 'version', 'year', 'contributor', 'date_created'}
        assert len(content['images']) == len(list((root / f'{split}2017').iterdir())) == number
        licences = {licence['id'] for licence in content['licenses']}
        for image in content['images']:
            fields = {'license', 'file_name', 'coco_url', 'height', 'width', 'date_captured', 'flickr_url', 'id'}
            assert set(image) == fields
            assert image['file_name'] == f'{image["id"]:012d}.jpg' and image['license'] in licences
            pixels = cv2.imread(str(root / f'{split}2017' / image['file_name']), cv2.IMREAD_COLOR)
            assert pixels.shape == (image['height'], image['width'], 3)
        for entry in content['annotations']:
            fields = {'segmentation', 'area', 'iscrowd', 'image_id', 'bbox', 'category_id', 'id'}
            assert set(entry) == fields
            assert isinstance(entry['segmentation'], dict if entry['iscrowd'] else list)
        assert {tuple(sorted(category)) for category in content['categories']} == {('id', 'name', 'supercategory')}
        assert [category['name'] for category in content['categories']] == list(DEFAULT_CLASSES)
        assert [category['id'] for category in content['categories']] != list(range(1, 6)), 'numbers must have gaps'


def test_image_and_annotation_numbers_are_unique_over_both_splits(root: Path) -> None:
    splits = [json.loads((root / 'annotations' / f'instances_{s}2017.json').read_text()) for s in ('train', 'val')]
    for kind in ('images', 'annotations'):
        numbers = [entry['id'] for split in splits for entry in split[kind]]
        assert len(numbers) == len(set(numbers)) > 0


def test_boxes_and_areas_are_those_of_the_masks(coco: COCO) -> None:
    assert coco.anns
    for entry in coco.anns.values():
        mask = coco.annToMask(entry)
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y, width, height = entry['bbox']
        edges = np.array([x, y, x + width, y + height])
        of_mask = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        image = coco.imgs[entry['image_id']]
        assert edges.min() >= 0 and edges[2] <= image['width'] and edges[3] <= image['height']
        if entry['iscrowd']:
            assert entry['area'] == mask.sum() and (edges == of_mask).all()
        else:  # a polygon has edges between pixels; thin tips may cover no pixel's centre
            assert abs(edges - of_mask).max() <= 3
            assert entry['area'] == pytest.approx(mask.sum(), rel=0.1, abs=12)


def test_the_data_are_not_trivial(root: Path) -> None:
    coco = load(root / 'annotations' / 'instances_train2017.json')
    entries = list(coco.anns.values())
    assert sum(entry['iscrowd'] for entry in entries) >= 2, 'crowds'
    assert {entry['category_id'] for entry in entries} == set(coco.cats)
    assert any(len(entry['segmentation']) > 1 for entry in entries if not entry['iscrowd']), 'objects cut in two'
    assert len({(image['height'], image['width']) for image in coco.imgs.values()}) == 3, 'formats'
    per_image = [len(coco.getAnnIds(imgIds=[number], iscrowd=False)) for number in coco.imgs]
    assert min(per_image) <= 1 and max(per_image) >= 4
    extents = [max(entry['bbox'][2:]) for entry in entries]
    assert min(extents) < 15 and max(extents) > 45
    touching = 0
    for number in coco.imgs:
        masks = [coco.annToMask(entry) for entry in coco.loadAnns(coco.getAnnIds(imgIds=[number]))]
        # A pixel belongs to the uppermost object; both get it only where an edge runs through it.
        assert not masks or (np.sum(masks, axis=0) > 1).sum() <= 0.06 * np.sum(masks)
        grown = [cv2.dilate(mask, np.ones((3, 3), np.uint8)) for mask in masks]
        touching += bool(grown) and np.sum(grown, axis=0).max() > 1
    assert touching >= 10, 'objects that cover one another'


def test_perfect_predictions_have_ap_1(coco: COCO) -> None:
    found = [entry for entry in coco.anns.values() if not entry['iscrowd']]
    results = [
        {
            'image_id': entry['image_id'], 'category_id': entry['category_id'], 'score': 0.9, 'bbox': entry['bbox'],
            'segmentation': coco.annToRLE(entry),
        } for entry in found
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        answer = coco.loadRes(results)
        for kind in ('bbox', 'segm'):
            evaluation = COCOeval(coco, answer, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert evaluation.stats[:3] == pytest.approx([1.0, 1.0, 1.0]), kind


def test_predicting_a_crowd_costs_nothing_and_missing_objects_does(coco: COCO) -> None:
    """The crowds have a purpose: what overlaps one is neither right nor wrong."""
    crowds = [entry for entry in coco.anns.values() if entry['iscrowd']]
    singles = [entry for entry in coco.anns.values() if not entry['iscrowd']]
    assert crowds

    def ap(entries: list[dict]) -> float:
        results = [{key: entry[key] for key in ('image_id', 'category_id', 'bbox')} for entry in entries]
        with contextlib.redirect_stdout(io.StringIO()):
            answer = coco.loadRes([dict(result, score=0.5) for result in results])
            evaluation = COCOeval(coco, answer, 'bbox')
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats[0]

    assert ap(crowds + singles) == pytest.approx(1.0)
    assert ap(singles[::2]) < 0.8


@pytest.mark.parametrize('form', list(FORMS))
def test_a_shape_is_painted_where_its_polygon_is(form: str) -> None:
    rng = np.random.default_rng(0)
    shape = random_shape(rng, form, (30.0, 26.0), 22.0, hue=0.3)
    image = np.full((56, 64, 3), -1000, np.float32)
    draw(image, shape, rng)
    painted = image.max(axis=2) > -500  # more than half covered
    ((part,),) = visible_parts([shape.outline], 56, 64)
    runs = coco_mask.frPyObjects([[v for xy in part.exterior.coords[:-1] for v in xy]], 56, 64)
    mask = coco_mask.decode(runs)[..., 0].astype(bool)
    assert (painted & mask).sum() / (painted | mask).sum() > 0.93


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def test_the_same_settings_give_the_same_files(root: Path, tmp_path: Path) -> None:
    assert digest(make_miniature_coco(tmp_path / 'again', SETTINGS)) == digest(root)


def test_the_seed_matters_and_the_number_of_images_does_not() -> None:
    first, entries = make_image(MiniatureSettings(10, 5, 64, seed=0), 'train', 4)
    same, same_entries = make_image(MiniatureSettings(1000, 7, 64, seed=0), 'train', 4)
    assert (first == same).all() and entries == same_entries
    for other in (
        make_image(MiniatureSettings(10, 5, 64, seed=1), 'train', 4)[0],
        make_image(MiniatureSettings(10, 5, 64, seed=0), 'val', 4)[0],
        make_image(MiniatureSettings(10, 5, 64, seed=0), 'train', 3)[0],
    ):
        assert other.shape != first.shape or (other != first).any()


def test_many_images_can_be_made() -> None:
    """Every rare branch (a crowd wholly covered, no room for one more shape) comes up in this many."""
    settings = MiniatureSettings(400, 1, 40, seed=1)
    numbers = [len(make_image(settings, 'train', i)[1]) for i in range(400)]
    assert min(numbers) == 0 and max(numbers) >= 5


def test_coco_classes_have_cocos_names_and_numbers(tmp_path: Path) -> None:
    from mmdet.datasets import CocoDataset

    make_miniature_coco(tmp_path, MiniatureSettings(2, 1, 64, classes=('coco',)))
    categories = json.loads((tmp_path / 'annotations' / 'instances_val2017.json').read_text())['categories']
    assert tuple(category['name'] for category in categories) == CocoDataset.METAINFO['classes']
    numbers = {category['name']: category['id'] for category in categories}
    assert {name: numbers[name] for name in ('person', 'stop sign', 'backpack', 'toothbrush')} == {
        'person': 1, 'stop sign': 13, 'backpack': 27, 'toothbrush': 90
    }  # fmt: skip


@pytest.mark.parametrize('force', [False, True])
def test_a_directory_of_others_is_left_alone(tmp_path: Path, force: bool) -> None:
    (tmp_path / 'annotations').mkdir()
    theirs = tmp_path / 'annotations' / 'instances_train2017.json'
    theirs.write_text('theirs')
    with pytest.raises(MiniatureError, match='not made by this generator'):
        make_miniature_coco(tmp_path, MiniatureSettings(1, 1, 32), force=force)
    with pytest.raises(MiniatureError, match='not made by this generator'):
        ensure_miniature_coco(tmp_path, MiniatureSettings(1, 1, 32))
    assert theirs.read_text() == 'theirs' and list(tmp_path.rglob('*')) == [tmp_path / 'annotations', theirs]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / 'coco').write_text('')
    with pytest.raises(MiniatureError, match='is a file'):
        make_miniature_coco(tmp_path / 'coco', MiniatureSettings(1, 1, 32))


def test_its_own_directory_is_replaced_only_by_force(tmp_path: Path) -> None:
    old, new = MiniatureSettings(3, 2, 32), MiniatureSettings(2, 2, 32)
    make_miniature_coco(tmp_path, old)
    (tmp_path / 'notes.txt').write_text('mine')
    before = digest(tmp_path)
    with pytest.raises(MiniatureError, match='--force'):
        make_miniature_coco(tmp_path, new)
    assert digest(tmp_path) == before
    make_miniature_coco(tmp_path, new, force=True)
    assert is_complete(tmp_path, new) and not is_complete(tmp_path, old)
    assert len(list((tmp_path / 'train2017').iterdir())) == 2
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_a_whole_data_set_is_used_again_and_a_broken_one_made_again(tmp_path: Path) -> None:
    settings = MiniatureSettings(3, 2, 32)
    calls = []
    assert ensure_miniature_coco(tmp_path / 'coco', settings, lambda done, total: calls.append((done, total)))
    assert calls == [(i, 5) for i in range(1, 6)]
    before = digest(tmp_path)
    assert not ensure_miniature_coco(tmp_path / 'coco', settings)
    (tmp_path / 'coco' / 'train2017' / '000000000002.jpg').unlink()
    assert ensure_miniature_coco(tmp_path / 'coco', settings)
    assert digest(tmp_path) == before
    marker = tmp_path / 'coco' / MARKER
    marker.write_text(marker.read_text().replace('true', 'false'))  # as a run leaves it that was interrupted
    assert ensure_miniature_coco(tmp_path / 'coco', settings)
    assert digest(tmp_path) == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_train': 0}, 'num_train=0'),
        ({'image_size': 16}, 'image_size=16'),
        ({'seed': -1}, 'seed=-1'),
        ({'classes': ('circle', 'dog')}, 'dog.*circle, square'),
        ({'classes': ('circle', 'circle')}, 'different'),
        ({'classes': ()}, 'one or more'),
    ],
)
def test_wrong_settings_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(MiniatureError, match=message):
        MiniatureSettings(**arguments)


def test_class_names_of_a_command_line() -> None:
    assert parse_classes(['circle,square', 'star']) == ('circle', 'square', 'star')


def test_the_tool(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True)

    target = str(tmp_path / 'mini')
    options = ('--train', '2', '--val', '1', '--size', '48', '--seed', '5', '--classes', 'star', 'hexagon')
    made = run(target, *options)
    assert made.returncode == 0, made.stderr
    assert '3/3 images' in made.stdout
    assert is_complete(target, MiniatureSettings(2, 1, 48, 5, ('star', 'hexagon')))
    again = run(target, *options)
    assert again.returncode == 1 and again.stderr.startswith('error: ') and '--force' in again.stderr
    assert run(target, *options, '--force').returncode == 0
