"""Differences between a program and the model: found where there are some, and none where there are none."""

import numpy as np
import pytest

from mmswin.errors import RunError
from mmswin.export.comparison import differences
from mmswin.inference import Instances, Mask

FACTS = {'mask_threshold': 0.5, 'score_threshold': 0.05, 'max_per_image': 100}
SIZE = (40, 60)


def found(**changes) -> dict:
    """Two objects as a program gives them."""
    boxes = np.float32([[4, 4, 20, 20], [30, 10, 46, 26]])
    values = dict(
        boxes=boxes, scores=np.float32([0.9, 0.5]), labels=np.array([0, 1]), masks=np.ones((2, 8, 8), np.float32)
    )
    return {**values, **changes}


def expected() -> dict:
    masks = [Mask(4, 4, np.ones((16, 16), bool)), Mask(10, 30, np.ones((16, 16), bool))]
    given = found()
    return {'found': Instances(given['boxes'], given['scores'], given['labels'], masks)}


def test_no_difference():
    assert differences(expected(), found(), FACTS, SIZE) == {'objects': 0, 'boxes': 0, 'scores': 0, 'masks': 0}
    # Another order is none.
    turned = {name: value[::-1] for name, value in found().items()}
    assert differences(expected(), turned, FACTS, SIZE) == {'objects': 0, 'boxes': 0, 'scores': 0, 'masks': 0}


def test_differences_of_objects():
    given = found(scores=np.float32([0.9, 0.501]))
    given['boxes'] = given['boxes'] + np.float32([0, 0, 0.25, 0])
    given['masks'][0, 0] = 0  # a row of one mask
    worst = differences(expected(), given, FACTS, SIZE)
    assert worst['boxes'] == 0.25
    assert worst['scores'] == pytest.approx(1e-3, rel=1e-2)
    assert 0.02 < worst['masks'] < 0.1


@pytest.mark.parametrize('name', ['boxes', 'scores'])
def test_what_is_no_number_is_no_proof(name):
    given = found()
    given[name][0] = np.nan
    assert differences(expected(), given, FACTS, SIZE)[name] == np.inf


@pytest.mark.parametrize(('kept', 'score', 'worst'), [
    ([0], 0.5, 1 / 2), ([0], 0.05001, 0), ([0, 1, 1], 0.5, 1 / 3), ([], 0.5, 1),
])  # fmt: skip
def test_objects_that_one_of_them_lacks(kept, score, worst):
    wanted = expected()
    wanted['found'].scores[1] = score
    given = {name: value[kept] for name, value in found().items()}
    assert differences(wanted, given, FACTS, SIZE)['objects'] == worst


def test_boxes_far_apart_are_two_objects():
    given = found()
    given['boxes'] = given['boxes'] + np.float32([[0], [2]])
    worst = differences(expected(), given, FACTS, SIZE)
    assert (worst['objects'], worst['boxes']) == (1 / 2, 0)


def test_differences_of_maps_and_labels():
    maps = {'map0': np.ones((1, 2, 3, 3)), 'map1': np.full((1, 2, 1, 1), 4.0)}
    assert differences(maps, {**maps, 'map1': maps['map1'] + 0.1}, {}, SIZE) == {'maps': pytest.approx(0.025)}
    assert differences(maps, {**maps, 'map0': np.full((1, 2, 3, 3), np.nan)}, {}, SIZE) == {'maps': np.inf}
    with pytest.raises(RunError, match='map0'):  # another shape
        differences(maps, {**maps, 'map0': np.ones((1, 2, 2, 3))}, {}, SIZE)
    logits = np.stack([np.zeros((4, 4)), np.ones((4, 4))])
    wanted = {'logits': logits, 'labels': logits.argmax(0)}
    assert differences(wanted, {'logits': logits[None]}, {}, SIZE) == {'logits': 0}
    labels = np.ones((1, 4, 4), np.uint8)
    labels[0, 0, 0] = 0
    assert differences(wanted, {'labels': labels}, {}, SIZE) == {'labels': 1 / 16}
    probability = {'logits': np.full((1, 4, 4), 0.7), 'labels': np.ones((4, 4))}
    assert differences(probability, {'logits': logits[None]}, {}, SIZE) == {'labels': 0}
