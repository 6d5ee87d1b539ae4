"""Drawings: colours lie where objects are, names can be read on pictures of any size and alphabet."""

import numpy as np
import pytest

from mmswin.inference import Instances, Mask, drawing


def test_palettes():
    assert drawing.colours(2, [(1, 2, 3), (4, 5, 6), (7, 8, 9)]) == [(1, 2, 3), (4, 5, 6)]
    ours = drawing.colours(200, 'random')
    assert len(set(ours)) == 200 and ours[:7] == list(drawing.PALETTE)


@pytest.mark.parametrize('shape', [(2, 3, 3), (40, 60), (480, 640, 3), (300, 1500, 4)])
def test_small_pictures_are_enlarged_and_all_have_three_channels(shape):
    image = np.full(shape, 77, np.uint8)
    picture, zoom = drawing.canvas(image)
    assert picture.shape == (shape[0] * zoom, shape[1] * zoom, 3) and (picture == 77).all()
    assert max(picture.shape) >= drawing.LEAST_SIDE
    picture[...] = 0
    assert (image == 77).all()


@pytest.mark.parametrize('side', [40, 600, 3000])
def test_objects(side):
    picture, zoom = drawing.canvas(np.full((side, side, 3), 128, np.uint8))
    part = side // 4
    masks = [Mask(part, part, np.ones((2 * part, 2 * part), bool))]
    boxes = np.array([[part, part, 3 * part, 3 * part]], np.float32)
    found = Instances(boxes, np.array([0.77], np.float32), np.array([0]), masks)
    drawn = drawing.draw_instances(picture, found, ['Zelle-细胞'], [(255, 0, 0)], zoom)
    height, text = len(drawn), drawing.text_size(drawn)
    assert (drawn[: height // 4 - 2 * text] == 128).all() and (drawn[-height // 5 :] == 128).all()
    assert drawn[height // 2, height // 2].tolist() == pytest.approx([70, 70, 185], abs=2), 'masks are translucent'
    # The name on its colour is above the box.
    above = drawn[height // 4 - text : height // 4, height // 4 : height // 4 + text].reshape(-1, 3)
    assert (above == (0, 0, 255)).all(1).any() and (above == 255).all(1).any()


def test_objects_at_the_border_and_empty_ones():
    picture, zoom = drawing.canvas(np.zeros((500, 20, 3), np.uint8))
    boxes = np.array([[-5, -5, 30, 10], [0, 0, 0, 0], [5, 490, 20, 510]], np.float32)
    masks = [Mask(0, 0, np.zeros((0, 0), bool))] * 3
    found = Instances(boxes, np.full(3, np.nan, np.float32), np.zeros(3, int), masks)
    drawn = drawing.draw_instances(picture, found, ['a name that is much wider than the picture'], [(0, 255, 0)], zoom)
    assert drawn.any()


def test_names_of_many_objects_leave_most_of_the_picture_free():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, [540, 380], (100, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 100, (100, 2))], 1).astype(np.float32)
    scores = np.linspace(0.9, 0.3, 100, dtype=np.float32)
    drawn, tags = [], []
    for number in (1, 100):
        picture, _ = drawing.canvas(np.full((480, 640, 3), 128, np.uint8))
        found = Instances(boxes[:number], scores[:number], np.zeros(number, int))
        drawn.append(drawing.draw_instances(picture, found, ['refrigerator'], [(1, 2, 3)]))
        tags.append((drawn[-1] == (3, 2, 1)).all(2).mean())
    assert 0 < tags[0] < 0.01 and tags[1] < 0.3
    # The best one is named, with smaller letters in the crowd.
    left, top = corners[0].astype(int)
    assert [(one[top - 8, left + 1] == (3, 2, 1)).all() for one in drawn] == [True, True]


def test_label_maps():
    picture, _ = drawing.canvas(np.full((500, 600, 3), 100, np.uint8))
    labels = np.zeros((500, 600), np.uint8)
    labels[:, 300:], labels[400:, :300] = 1, 255
    drawn = drawing.draw_labels(picture, labels, ['left', 'right'], [(250, 0, 0), (0, 0, 250)])
    assert drawn[5, 5].tolist() == pytest.approx([45, 45, 182], abs=2)
    assert drawn[5, 595].tolist() == pytest.approx([182, 45, 45], abs=2)
    assert drawn[495, 5].tolist() == [100, 100, 100], 'what is no class is left clear'
