"""Tiles: they cover a picture, an object of several tiles becomes one, scores add up as in one pass."""

import errno
import io
import os
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmswin.errors import RunError
from mmswin.inference import Instances, Mask, Result, tiles
from mmswin.inference.exported_backend import ExportedBackend
from mmswin.inference.torch_backend import TorchBackend


@pytest.mark.parametrize(
    'side, tile, overlap', [(100, 30, 0.2), (31, 30, 0.0), (30, 30, 0.5), (9, 30, 0.2), (97, 10, 0.9)]
)
def test_tiles_cover_the_side_and_overlap_enough(side, tile, overlap):
    begins = tiles.starts(side, tile, overlap)
    assert begins[0] == 0 and begins[-1] == max(0, side - tile)
    strides = np.diff(begins)
    assert (strides <= max(1, int(tile * (1 - overlap)))).all() and (strides > 0).all()


def cut(whole: Instances, place) -> Instances:
    """What a faultless detector finds in a tile."""
    top, left, bottom, right = place
    low = np.array([left, top] * 2)
    boxes = whole.boxes.clip(low, [right, bottom, right, bottom]) - low
    seen = ((boxes[:, 2:] - boxes[:, :2]) > 2).all(1)
    masks = []
    for mask in np.flatnonzero(seen):
        full = np.zeros((200, 300), bool)
        whole.masks[mask].inside(full)[...] = whole.masks[mask].pixels
        masks.append(Mask.cut(full[top:bottom, left:right]))
    return Instances(boxes.astype(np.float32)[seen], whole.scores[seen], whole.labels[seen], masks)


def test_objects_on_borders_become_one():
    rng = np.random.default_rng(0)
    # Of all sizes, one larger than two tiles; two that touch; a small one inside a large one of its class.
    boxes = np.array(
        [[5, 5, 290, 60], [10, 70, 40, 110], [40, 70, 75, 110], [100, 80, 200, 190], [130, 100, 150, 120],
         [80, 150, 95, 160], [210, 90, 280, 195]], np.float32)  # fmt: skip
    masks = [Mask(int(t), int(x), rng.random((int(b - t), int(r - x))) > 0.3) for x, t, r, b in boxes]
    whole = Instances(boxes, np.linspace(0.9, 0.3, 7, dtype=np.float32), np.array([0, 0, 0, 1, 1, 0, 1]), masks)
    places = tiles.windows(200, 300, 80, 0.25)
    merged = tiles.merge(places, [cut(whole, place) for place in places])
    assert len(merged) == len(whole)
    np.testing.assert_array_equal(merged.boxes, whole.boxes)
    np.testing.assert_array_equal(merged.labels, whole.labels)
    for ours, theirs in zip(merged.masks, whole.masks):
        canvas = np.zeros((2, 200, 300), bool)
        for layer, mask in zip(canvas, (ours, theirs)):
            mask.inside(layer)[...] = mask.pixels
        assert (canvas[0] == canvas[1]).all()


def test_other_classes_and_objects_of_one_tile_stay_apart():
    boxes, scores = np.array([[0, 0, 20, 20], [1, 0, 20, 20]], np.float32), np.array([0.9, 0.8], np.float32)
    places = [(0, 0, 30, 30), (0, 0, 30, 30)]
    same = Instances(boxes, scores, np.array([0, 0]))
    assert len(tiles.merge(places, [same, same[:0]])) == 2
    assert len(tiles.merge(places, [same[:1], same[1:]])) == 1
    assert len(tiles.merge(places, [same[:1], Instances(boxes[1:], scores[1:], np.array([1]))])) == 2
    assert len(tiles.merge(places, [same[:0], same[:0]])) == 0


@pytest.mark.parametrize('in_memory', [2**28, 100])
@pytest.mark.parametrize('overlap', [0.0, 0.3, 0.7])
def test_label_maps_are_those_of_averaged_scores(overlap, in_memory, monkeypatch):
    monkeypatch.setattr(tiles, 'IN_MEMORY', in_memory)
    rng = np.random.default_rng(1)
    places = tiles.windows(53, 71, 16, overlap)
    scores = [
        rng.standard_normal((3, bottom - top, right - left)).astype(np.float32) for top, left, bottom, right in places
    ]
    sums, number = np.zeros((3, 53, 71)), np.zeros((53, 71))
    for (top, left, bottom, right), values in zip(places, scores):
        sums[:, top:bottom, left:right] += values
        number[top:bottom, left:right] += 1
    assert number.min() == 1
    labels = tiles.label_map(53, 71, 16, overlap, iter(scores))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, (sums / number).argmax(0))


def test_memory_is_that_of_a_tile_and_of_the_label_map(monkeypatch):
    """However wide the picture is; what tiles of two rows share lies in a file."""
    monkeypatch.setattr(tiles, 'IN_MEMORY', 2**16)
    classes, tile, peaks = 50, 64, []
    for width in (640, 2560):
        scores = (np.zeros((classes, tile, tile), np.float32) for _ in iter(int, 1))
        tracemalloc.start()
        labels = tiles.label_map(160, width, tile, 0.25, scores)
        peaks.append(tracemalloc.get_traced_memory()[1] - labels.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_no_room_for_what_tiles_share(monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tiles, '_strip', Full)
    with pytest.raises(RunError, match='No space left.*TMPDIR'):
        tiles.label_map(20, 20, 16, 0.25, iter([np.zeros((2, 16, 16), np.float32)]))


def test_more_than_255_classes_have_16_bits():
    scores = np.zeros((300, 4, 5), np.float32)
    scores[299, 1], scores[256, 2] = 1, 2
    labels = tiles.label_map(4, 5, 8, 0.0, iter([scores]))
    assert labels.dtype == np.uint16 and labels[:, 0].tolist() == [0, 299, 256, 0]
    classes = [str(i) for i in range(300)]
    kept = Result(np.zeros((4, 5, 3), np.uint8), '', classes, [], label_map=labels).filter(classes=['299'])
    assert kept.label_map[:, 0].tolist() == [65535, 299, 65535, 65535]
    pixels = SimpleNamespace(data=torch.from_numpy(labels.astype(np.int64))[None])
    (backend := TorchBackend.__new__(TorchBackend)).classes = classes
    np.testing.assert_array_equal(backend._labels(SimpleNamespace(pred_sem_seg=pixels), scores=False), labels)
    (exported := ExportedBackend.__new__(ExportedBackend)).classes = classes
    np.testing.assert_array_equal(exported._labels({'labels': labels.astype(np.int32)}, (4, 5), scores=False), labels)
