"""Toy data: pycocotools reads them as it reads COCO, labels lie where shapes are drawn, the same settings give the same
files, and nothing that was not made by the generator is ever overwritten.
"""

import contextlib
import hashlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmswin.data.miniature import (
    DEFAULT_CLASSES,
    FORMS,
    MARKER,
    MiniatureError,
    MiniatureSettings,
    is_complete,
    make_miniature,
    make_scene,
)

SETTINGS = MiniatureSettings(num_train=60, num_val=30, image_size=96, seed=3)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_miniature('COCO', tmp_path_factory.mktemp('data') / 'coco', SETTINGS)


@pytest.fixture(scope='module')
def coco(root: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(root / 'annotations' / 'instances_train2017.json'))


def test_layout_and_fields_are_those_of_coco(root: Path) -> None:
    numbers: dict[str, list[int]] = {'images': [], 'annotations': []}
    for split, number in (('train', 60), ('val', 30)):
        content = json.loads((root / 'annotations' / f'instances_{split}2017.json').read_text())
        assert set(content) == {'info', 'licenses', 'images', 'annotations', 'categories'}
        assert len(content['images']) == len(list((root / f'{split}2017').iterdir())) == number
        for image in content['images']:
            fields = {'license', 'file_name', 'coco_url', 'height', 'width', 'date_captured', 'flickr_url', 'id'}
            assert set(image) == fields and image['file_name'] == f'{image["id"]:012d}.jpg'
            pixels = cv2.imread(str(root / f'{split}2017' / image['file_name']), cv2.IMREAD_COLOR)
            assert pixels.shape == (image['height'], image['width'], 3)
        for entry in content['annotations']:
            fields = {'segmentation', 'area', 'iscrowd', 'image_id', 'bbox', 'category_id', 'id'}
            assert set(entry) == fields and isinstance(entry['segmentation'], dict if entry['iscrowd'] else list)
        assert [category['name'] for category in content['categories']] == list(DEFAULT_CLASSES)
        assert [category['id'] for category in content['categories']] != list(range(1, 6)), 'numbers must have gaps'
        for kind, known in numbers.items():
            known += [entry['id'] for entry in content[kind]]
    assert all(len(known) == len(set(known)) > 0 for known in numbers.values())


def test_boxes_and_areas_are_those_of_the_masks(coco: COCO) -> None:
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


def test_label_maps_are_numbered_as_those_of_coco_stuff(root: Path, coco: COCO) -> None:
    """An object's category less 1, which groups have too, on "ground-other"; they agree with the masks."""
    grounds, crowds = 0, 0
    for image in coco.imgs.values():
        name = Path(image['file_name']).stem
        labels = cv2.imread(str(root / 'stuffthingmaps' / 'train2017' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        expected = np.full((image['height'], image['width']), 125)
        for entry in coco.loadAnns(coco.getAnnIds(imgIds=[image['id']])):
            expected[coco.annToMask(entry) > 0] = entry['category_id'] - 1
            crowds += entry['iscrowd']
        assert labels.shape == expected.shape and (labels == expected).mean() > 0.97
        assert set(np.unique(labels)) == set(np.unique(expected))
        grounds += (labels == 125).sum()
    assert crowds and grounds
    assert len(list((root / 'stuffthingmaps' / 'val2017').glob('*.png'))) == 30


def test_the_data_are_not_trivial(coco: COCO) -> None:
    entries = list(coco.anns.values())
    assert sum(entry['iscrowd'] for entry in entries) >= 2, 'crowds'
    assert {entry['category_id'] for entry in entries} == set(coco.cats)
    assert len({(image['height'], image['width']) for image in coco.imgs.values()}) == 3, 'formats'
    per_image = [len(coco.getAnnIds(imgIds=[number], iscrowd=False)) for number in coco.imgs]
    assert min(per_image) <= 1 and max(per_image) >= 4
    extents = [max(entry['bbox'][2:]) for entry in entries]
    assert min(extents) < 16 and max(extents) > 35


def test_perfect_predictions_have_ap_1(coco: COCO) -> None:
    results = [
        {'image_id': entry['image_id'], 'category_id': entry['category_id'], 'score': 0.9, 'bbox': entry['bbox'],
         'segmentation': coco.annToRLE(entry)}
        for entry in coco.anns.values()
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        answer = coco.loadRes(results)
        for kind in ('bbox', 'segm'):
            evaluation = COCOeval(coco, answer, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert evaluation.stats[:3] == pytest.approx([1.0, 1.0, 1.0]), kind


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def test_the_same_settings_give_the_same_files(root: Path, tmp_path: Path) -> None:
    assert digest(make_miniature('COCO', tmp_path / 'again', SETTINGS)) == digest(root)


def test_the_seed_matters_and_the_number_of_images_does_not() -> None:
    first = make_scene(MiniatureSettings(10, 5, 64, seed=0), 'train', 4, 5)[0]
    assert (first == make_scene(MiniatureSettings(1000, 7, 64, seed=0), 'train', 4, 5)[0]).all()
    for seed, split, index in ((1, 'train', 4), (0, 'val', 4), (0, 'train', 3)):
        other = make_scene(MiniatureSettings(10, 5, 64, seed=seed), split, index, 5)[0]
        assert other.shape != first.shape or (other != first).any()


def test_coco_classes_have_cocos_names_and_numbers(tmp_path: Path) -> None:
    from mmdet.datasets import CocoDataset

    make_miniature('COCO', tmp_path, MiniatureSettings(2, 1, 64, classes=('coco',)))
    categories = json.loads((tmp_path / 'annotations' / 'instances_val2017.json').read_text())['categories']
    assert tuple(category['name'] for category in categories) == CocoDataset.METAINFO['classes']
    numbers = {category['name']: category['id'] for category in categories}
    assert {name: numbers[name] for name in ('person', 'stop sign', 'backpack', 'toothbrush')} == {
        'person': 1, 'stop sign': 13, 'backpack': 27, 'toothbrush': 90
    }  # fmt: skip


def test_label_maps_of_ade20k(tmp_path: Path) -> None:
    settings = MiniatureSettings(30, 2, 64, classes=tuple(FORMS))
    make_miniature('ADE20K', tmp_path, settings)
    assert settings.names('ADE20K') == ('ground', *FORMS)
    values, total = np.zeros(256, np.int64), 0
    for index in range(30):
        pixels, things = make_scene(settings, 'train', index, len(FORMS))
        name = f'training/ADE_train_{index + 1:08d}'
        labels = cv2.imread(str(tmp_path / 'annotations' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        assert labels.shape == pixels.shape[:2] and (tmp_path / 'images' / f'{name}.jpg').is_file()
        for thing in things:
            for outline in thing.outlines:
                mask = cv2.fillPoly(np.zeros(labels.shape, np.uint8), [np.round(outline - 0.5).astype(np.int32)], 1)
                inside = labels[cv2.erode(mask, np.ones((3, 3))) > 0]
                expected = thing.label + 2 if len(thing.outlines) == 1 else 0
                assert not inside.size or (inside == expected).mean() > 0.95
        values += np.bincount(labels.ravel(), minlength=256)
        total += labels.size
    assert values[1] > total / 2 and set(np.flatnonzero(values)) <= set(range(10))


def test_ade_classes_are_ade20ks() -> None:
    names = MiniatureSettings(classes=('ade',)).names('ADE20K')
    assert len(names) == 150 and names[0] == 'wall'
    labels = {
        thing.label for i in range(200) for thing in make_scene(MiniatureSettings(classes=('ade',)), 'val', i, 149)[1]
    }
    assert min(labels) >= 0 and 140 < max(labels) <= 148


@pytest.mark.parametrize('kind', ['COCO', 'ADE20K'])
@pytest.mark.parametrize('force', [False, True])
def test_a_directory_of_others_is_left_alone(tmp_path: Path, force: bool, kind: str) -> None:
    (tmp_path / 'annotations').mkdir()
    theirs = tmp_path / 'annotations' / 'instances_train2017.json'
    theirs.write_text('theirs')
    with pytest.raises(MiniatureError, match='not made by this generator'):
        make_miniature(kind, tmp_path, MiniatureSettings(1, 1, 32), force=force)
    assert theirs.read_text() == 'theirs' and list(tmp_path.rglob('*')) == [tmp_path / 'annotations', theirs]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(MiniatureError, match='is a file'):
        make_miniature('COCO', tmp_path / 'file', MiniatureSettings(1, 1, 32))
    make_miniature('COCO', tmp_path / 'coco', MiniatureSettings(1, 1, 32))
    with pytest.raises(MiniatureError, match='holds a miniature COCO'):
        make_miniature('ADE20K', tmp_path / 'coco', MiniatureSettings(1, 1, 32), force=True)


def test_its_own_directory_is_replaced_only_by_force(tmp_path: Path) -> None:
    old, new = MiniatureSettings(3, 2, 32), MiniatureSettings(2, 2, 32)
    make_miniature('COCO', tmp_path, old)
    (tmp_path / 'notes.txt').write_text('mine')
    before = digest(tmp_path)
    with pytest.raises(MiniatureError, match='--force'):
        make_miniature('COCO', tmp_path, new)
    assert digest(tmp_path) == before
    make_miniature('COCO', tmp_path, new, force=True)
    assert is_complete(tmp_path, new, 'COCO') and not is_complete(tmp_path, old, 'COCO')
    assert len(list((tmp_path / 'train2017').iterdir())) == 2
    assert (tmp_path / 'notes.txt').read_text() == 'mine'


def test_a_whole_data_set_is_known_and_a_broken_one_made_again(tmp_path: Path) -> None:
    settings, root = MiniatureSettings(3, 2, 32), tmp_path / 'coco'
    calls = []
    make_miniature('COCO', root, settings, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 5) for i in range(1, 6)]
    before = digest(tmp_path)
    assert is_complete(root, settings, 'COCO')
    (root / 'train2017' / '000000000002.jpg').unlink()
    assert not is_complete(root, settings, 'COCO')
    make_miniature('COCO', root, settings, force=True)
    assert digest(tmp_path) == before
    marker = root / MARKER
    marker.write_text(marker.read_text().replace('true', 'false'))  # as a run leaves it that was interrupted
    assert not is_complete(root, settings, 'COCO')
    make_miniature('COCO', root, settings, force=True)
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
        ({'classes': ('ade',)}, 'coco'),
    ],
)
def test_wrong_settings_are_named(arguments: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(MiniatureError, match=message):
        make_miniature('COCO', tmp_path / 'new', MiniatureSettings(**arguments))
    assert not (tmp_path / 'new').exists()
