"""Results: filtered, drawn, saved, and turned into what others read; all say the same."""

import json
import sys
import tracemalloc
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmswin.errors import RunError, SavingError
from mmswin.inference import Mask, Result
from mmswin.inference.writing import Writer


@pytest.fixture
def objects(detector, picture):
    (result,) = detector(picture)
    return result


@pytest.fixture
def labels(segmentor, picture):
    (result,) = segmentor(picture)
    return result


def test_objects_are_filtered(objects):
    assert objects.filter(score=0.9).counts() == {'red': 1}
    assert objects.filter(classes=['blue']).counts() == objects.filter(classes=[1]).counts() == {'blue': 1}
    assert objects.counts() == {'red': 1, 'blue': 1}
    assert objects.filter(classes=objects.instances.labels[:1]).counts() == {'red': 1}
    with pytest.raises(RunError, match=r"'bleu'.*blue"):
        objects.filter(classes=['bleu'])


def test_one_object_is_taken_by_its_number(objects):
    for number, one in enumerate(objects.instances):
        assert len(one) == len(one.masks) == 1 and one.labels[0] == objects.instances.labels[number]
    assert number == 1 and len(objects.instances[-1]) == 1


def test_a_label_map_is_counted_in_its_own_memory():
    result = Result(None, 'a', ('ground', 'sky'), [], label_map=np.full((1000, 1000), 255, np.uint8))
    result.label_map[:200] = 1
    tracemalloc.start()
    assert result.counts() == {'sky': 200_000}
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_labels_are_filtered(labels):
    assert labels.filter(classes=['blue']).counts() == {'blue': 1000}
    assert len(labels) == 3


def test_masks_in_cocos_run_lengths_are_those_of_the_whole_picture():
    rng = np.random.default_rng(0)
    for pixels in (
        rng.random((13, 9)) > 0.5,
        np.ones((5, 9), bool),
        np.zeros((0, 0), bool),
        rng.random((20, 30)) > 0.5,
    ):
        whole = np.zeros((20, 30), bool)
        mask = Mask(0, 0, pixels) if pixels.shape == (20, 30) else Mask(4, 21, pixels)
        mask.inside(whole)[...] = pixels
        again = mask.rle(20, 30)
        np.testing.assert_array_equal(coco_mask.decode(again).astype(bool), whole)
        assert again['counts'] == coco_mask.encode(np.asfortranarray(whole.astype(np.uint8)))['counts'].decode()


def test_cocos_annotations_and_plain_values(objects):
    first, second = objects.to_coco(image_id=7, first_id=3)
    assert [first['id'], second['id']] == [3, 4] and first['image_id'] == 7
    assert first['bbox'] == [15, 10, 20, 20] and first['category_id'] == 1 and second['category_id'] == 2
    assert first['area'] == 400 and second['score'] == pytest.approx(200 / 255, abs=1e-5)
    plain = objects.to_dict()
    assert (plain['width'], plain['height'], len(plain['objects'])) == (160, 90, 2)


def test_a_label_map_is_no_objects_and_objects_no_label_map(labels, objects, tmp_path):
    assert labels.to_dict()['pixels'] == {'dark': 90 * 160 - 1400, 'blue': 1000, 'red': 400}
    with pytest.raises(RunError):
        labels.to_coco()
    with pytest.raises(RunError):
        labels.to_supervision()
    with pytest.raises(RunError):
        objects.save_labels(tmp_path / 'a.png')


def test_saving(objects, labels, tmp_path):
    path = tmp_path / 'new' / 'a.png'
    objects.save(path)
    with pytest.raises(RunError, match=r'a\.png'):
        objects.save(path)
    labels.save(path, overwrite=True)
    np.testing.assert_array_equal(cv2.imread(str(path)), labels.draw())
    labels.save_labels(tmp_path / 'labels.png')
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'labels.png'), cv2.IMREAD_UNCHANGED), labels.label_map)
    with pytest.raises(SavingError, match='too long'):
        objects.save(tmp_path / f'{"a" * 300}.png')
    for wrong in ('a.xyz', 'a'):
        with pytest.raises(RunError, match=r'\.png'):
            objects.save(tmp_path / wrong)
    with pytest.raises(RunError, match=r'\.png'):
        labels.save_labels(tmp_path / 'labels.jpg')


def test_supervision_gets_all(objects, monkeypatch):
    """What its constructor takes; with the library itself it was tried by hand."""
    monkeypatch.setitem(sys.modules, 'supervision', SimpleNamespace(Detections=dict))
    found = objects.to_supervision()
    assert found['mask'].shape == (2, 90, 160) and found['mask'].sum(axis=(1, 2)).tolist() == [400, 1000]
    assert found['data']['class_name'].tolist() == ['red', 'blue'] and found['class_id'].tolist() == [0, 1]
    monkeypatch.setitem(sys.modules, 'supervision', None)
    with pytest.raises(ImportError, match='supervision'):
        objects.to_supervision()


def test_a_whole_picture_has_a_class_and_scores(classifier, picture, tmp_path):
    (result,) = classifier(picture, score=0.9)  # which is for objects
    assert len(result) == 1 and result.counts() == {'red': 1}
    assert [name for name, _ in result.best()] == ['red', 'blue']
    found = result.to_dict()
    assert found['class'] == 'red' and sum(found['scores'].values()) == pytest.approx(1, abs=1e-4)
    assert result.filter(classes=['blue']).counts() == {'blue': 1}
    assert result.filter(score=0.9).to_dict()['class'] is None
    drawn, clear = result.draw(), result.filter(score=0.9).draw()
    assert (drawn[:40] != clear[:40]).any() and (drawn[60:] == clear[60:]).all()
    with pytest.raises(RunError, match='to_dict'):
        result.to_coco()
    with Writer(tmp_path / 'out', values=True) as writer:
        writer.add(result)
        writer.add(result)
    assert [one['class'] for one in json.loads((tmp_path / 'out' / 'predictions.json').read_text())] == ['red', 'red']
    assert writer.counts == {'red': 2}


def test_two_classes_of_one_name_are_two(picture):
    """As ImageNet's cranes, of which one is a bird."""
    scores = np.float32([0.1, 0.3, 0.6])
    result = Result(picture, 'a', ('crane', 'cat', 'crane'), [(0, 0, 0)] * 3, scores=scores)
    assert result.best_labels() == [2, 1, 0]
    assert result.to_dict()['scores'] == {'crane': 0.6, 'cat': 0.3}
    np.testing.assert_array_equal(result.filter(classes=['crane']).scores, np.float32([0.1, 0, 0.6]))


def test_objects_have_no_scores_of_classes(objects):
    with pytest.raises(RunError, match='classification'):
        objects.best()
