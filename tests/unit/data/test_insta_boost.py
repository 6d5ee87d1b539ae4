"""InstaBoost on drawn objects: where they go, what is behind them, their masks and boxes, and what stays as it is."""

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from mmswin.data import InstaBoost
from mmswin.data.insta_boost import bitmap_of, groups_of, polygons_of

GROUND = (90, 120, 60)


def rectangle(x1: int, y1: int, x2: int, y2: int) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def instance(*parts: tuple[int, int, int, int], **more: Any) -> dict[str, Any]:
    """An object of rectangles."""
    corners = np.array(parts)
    box = [*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist()]
    return {'bbox': box, 'bbox_label': 1, 'mask': [rectangle(*part) for part in parts], 'ignore_flag': 0, **more}


def scene(*instances: dict[str, Any], size: tuple[int, int] = (120, 160)) -> dict[str, Any]:
    """An even ground with the instances in colours of their own."""
    image = np.full((*size, 3), GROUND, np.uint8)
    for number, one in enumerate(instances):
        image[bitmap_of(one['mask'], *size) > 0] = (200, 40 * number, 20)
    return {'img': image, 'instances': list(instances)}


def boost(results: dict[str, Any], seed: int = 0, **options: Any) -> dict[str, Any]:
    np.random.seed(seed)
    return InstaBoost(**{'aug_ratio': 1, 'color_prob': 0, **options}).transform(results)


def test_groups_are_boxes_that_overlap_through_others_too() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [18, 0, 30, 10], [9, 9, 20, 20], [60, 50, 70, 60]])
    assert groups_of(boxes) == [[0, 2, 3], [1], [4]]  # the last two touch


def test_outlines_give_the_same_mask_again() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        blobs = np.kron(rng.integers(0, 2, (6, 8)), np.ones((3, 3), int))
        blobs[rng.integers(0, 18, 5), rng.integers(0, 24, 5)] = 1
        whole = bitmap_of(polygons_of(blobs.astype(np.uint8)), *blobs.shape)
        assert (whole >= blobs).all()  # holes are filled, which polygons cannot have
        assert np.array_equal(bitmap_of(polygons_of(whole), *blobs.shape), whole)
    assert np.array_equal(whole[0], blobs[0])


@pytest.mark.parametrize('seed', range(4))
def test_an_object_moves_by_a_fifteenth_at_most_and_the_ground_closes(seed: int) -> None:
    before = scene(instance((50, 40, 80, 70)))
    colour = before['img'][50, 60].copy()
    after = boost(before, seed, scale=(1, 1), theta=(0, 0))
    (one,) = after['instances']
    shift = np.array(one['bbox']) - (50, 40, 80, 70)
    assert shift[0] == shift[2] and shift[1] == shift[3] and abs(shift).max() <= 2  # pixels, 30 / 15
    mask = bitmap_of(one['mask'], 120, 160) > 0
    assert mask.sum() == 900 and (after['img'][mask] == colour).all()
    assert (abs(after['img'][~mask].astype(int) - GROUND) <= 1).all()


def test_scale_and_rotation_are_about_the_object_s_middle() -> None:
    (one,) = boost(scene(instance((50, 40, 80, 70))), scale=(1.2, 1.2), theta=(0, 0), dx=1e9, dy=1e9)['instances']
    assert one['bbox'] == [47, 37, 83, 73]
    turned = boost(scene(instance((40, 50, 100, 60))), scale=(1, 1), theta=(90, 90), dx=1e9, dy=1e9)['instances']
    assert turned[0]['bbox'] == [65, 25, 75, 85]


def test_a_mirrored_object() -> None:
    """An L, in two parts that touch."""
    parts = (40, 40, 50, 80), (50, 70, 80, 80)
    options = dict(scale=(1, 1), theta=(0, 0), dx=1e9, dy=1e9, action_candidate=('horizontal',), action_prob=(1,))
    (one,) = boost(scene(instance(*parts)), **options)['instances']
    before, after = (bitmap_of(mask, 120, 160) for mask in ([rectangle(*part) for part in parts], one['mask']))
    assert np.array_equal(after[:, 40:80], before[:, 40:80][:, ::-1]) and after.sum() == before.sum()


def test_those_that_overlap_move_together() -> None:
    before = scene(instance((40, 40, 70, 70)), instance((60, 60, 100, 90)), instance((120, 20, 135, 35)))
    steps = set()
    for seed in range(6):
        first, second, third = boost({**before}, seed, scale=(1, 1), theta=(0, 0))['instances']
        shift = np.array(first['bbox']) - (40, 40, 70, 70)
        assert (np.array(second['bbox']) - (60, 60, 100, 90) == shift).all()
        steps.add((tuple(shift), tuple(np.array(third['bbox']) - (120, 20, 135, 35))))
    assert len({first for first, _ in steps}) > 2 and len(steps) > 2


def test_near_a_border_objects_move_outwards_and_neither_shrink_nor_turn() -> None:
    for seed in range(8):
        (one,) = boost(scene(instance((5, 40, 65, 100))), seed, scale=(0.5, 0.6), theta=(-9, 9))['instances']
        x1, y1, x2, y2 = one['bbox']
        assert 61 <= x2 <= 65 and x1 in (0, *range(1, 6)) and y2 - y1 == 60 and abs(y1 - 40) <= 4


def test_an_object_in_several_parts_and_as_run_lengths() -> None:
    parts = instance((30, 40, 50, 60), (70, 40, 90, 60))
    bitmap = np.asfortranarray(bitmap_of([rectangle(110, 70, 130, 90)], 120, 160))
    packed = coco.encode(bitmap)
    flat = np.concatenate([[0], bitmap.ravel(order='F')])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes, [bitmap.size]])).tolist()
    plain = {'counts': counts, 'size': [120, 160]}
    for runs in ({**packed, 'counts': packed['counts'].decode()}, plain):
        results = scene(parts, {**instance((110, 70, 130, 90)), 'mask': runs})
        first, second = boost(results, scale=(1, 1), theta=(0, 0), dx=1e9, dy=1e9)['instances']
        assert len(first['mask']) == 2 and first['bbox'] == [30, 40, 90, 60]
        assert np.array_equal(bitmap_of(first['mask'], 120, 160), bitmap_of(parts['mask'], 120, 160))
        assert second['bbox'] == [110, 70, 130, 90] and len(second['mask']) == 1


def test_what_nothing_is_left_of_is_dropped_and_what_is_ignored_stays() -> None:
    """Four pixels shrink to nothing; a crowd keeps its run lengths; a line is no mask."""
    crowd = instance((100, 80, 130, 100), ignore_flag=1, mask={'counts': 'abc', 'size': [120, 160]})
    line = {**instance((10, 100, 20, 101)), 'mask': [[10, 100, 20, 101]]}
    image = scene(instance((50, 40, 80, 70)), instance((90, 40, 92, 42)))
    box = {name: value for name, value in line.items() if name != 'mask'}
    image['instances'] += [crowd, line, box]
    found = boost(image, scale=(0.2, 0.2), theta=(0, 0))['instances']
    assert found[1:] == [crowd, line, box] and found[0]['bbox'][2] < 80


def test_what_lies_in_front_is_taken_off_what_lies_behind() -> None:
    """Both grow, each in a group of its own, until the second covers a part of the first."""
    before = scene(instance((40, 40, 70, 70)), instance((71, 40, 101, 70)))
    first, second = boost(before, scale=(1.5, 1.5), theta=(0, 0), dx=1e9, dy=1e9)['instances']
    masks = [bitmap_of(one['mask'], 120, 160) for one in (first, second)]
    # Of a larger one the corners are cut.
    assert second['bbox'] == [63, 32, 109, 78] and masks[1].sum() == 46 * 46 - 4 and not (masks[0] & masks[1]).any()
    assert first['bbox'][2] <= 64  # but for the corners


def test_how_often_it_happens_and_that_the_rest_is_left_alone() -> None:
    np.random.seed(0)
    step, changed = InstaBoost(color_prob=0, scale=(1.2, 1.2)), 0
    for _ in range(60):
        before = scene(instance((50, 40, 80, 70)), size=(90, 120))
        image = before['img'].copy()
        after = step({**before, 'img_id': 7})
        changed += not np.array_equal(after['img'], image)
        assert after['img'].dtype == np.uint8 and after['img_id'] == 7 and after['instances'][0]['bbox_label'] == 1
    assert 18 < changed < 42
    assert boost({'img': image, 'instances': []})['img'] is image


def test_colours_change_with_the_image() -> None:
    before = scene(instance((50, 40, 80, 70)))
    sums = {boost({**before, 'img': before['img'].copy()}, seed, color_prob=1)['img'].sum() for seed in range(4)}
    assert len(sums) == 4 and min(sums) > before['img'].sum() * 0.9  # never darker


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (dict(action_candidate=('up',), action_prob=(1,)), 'up'),
        (dict(action_prob=(0.5, 0.2, 0)), 'action_prob'),
        (dict(scale=(1.2, 0.8)), 'scale'),
        (dict(dx=0), 'dx=0'),
        (dict(theta=(1, -1)), 'theta'),
        (dict(hflag=True), 'hflag'),
        (dict(aug_ratio=2), 'aug_ratio=2'),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        InstaBoost(**options)


def test_grey_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r'\(120, 160\)'):
        boost({'img': np.zeros((120, 160), np.uint8), 'instances': [instance((50, 40, 80, 70))]})
