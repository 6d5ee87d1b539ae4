"""Large pictures piece by piece: windows that overlap, and findings of all of them put together.

Detections of two tiles are one object if they agree where both tiles see: their boxes, cut to what the tiles share,
overlap by more than half. So an object on a border becomes one, with a box and a mask around all of its parts, however
many tiles it lies on; two of one tile are never joined, for the network has told them apart.
"""

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from mmswin.errors import RunError
from mmswin.inference.results import Instances, Mask

# Boxes that agree by so much, as intersection over union where both tiles see, are one object's.
SAME = 0.5
# So many bytes of scores that two rows of tiles share stay in memory; more go to a temporary file.
IN_MEMORY = 2**28


def starts(side: int, tile: int, overlap: float) -> list[int]:
    """Where tiles begin along a side, evenly, so that neighbours share at least ``overlap`` of a tile.

    Args:
        side: Of the picture, in pixels.
        tile: Of the tile.
        overlap: Part of the tile, at least 0 and below 1.
    """
    if side <= tile:
        return [0]
    stride = max(1, int(tile * (1 - overlap)))
    number = -(-(side - tile) // stride) + 1
    return [round(i * (side - tile) / (number - 1)) for i in range(number)]


def windows(height: int, width: int, tile: int, overlap: float) -> list[tuple[int, int, int, int]]:
    """All tiles of a picture as (top, left, bottom, right), row by row."""
    return [
        (top, left, min(top + tile, height), min(left + tile, width))
        for top in starts(height, tile, overlap)
        for left in starts(width, tile, overlap)
    ]


def merge(places: Sequence[tuple[int, int, int, int]], found: Sequence[Instances]) -> Instances:
    """One picture's detections from those of its tiles.

    Args:
        places: The tiles, by :func:`windows`.
        found: Their detections, in pixels of the tile.

    Returns:
        In pixels of the picture, best first. An object of several tiles has the label and the score of its best part.
    """
    moved = [one.moved(top, left) for one, (top, left, _, _) in zip(found, places)]
    tile_of = np.repeat(np.arange(len(moved)), [len(one) for one in moved])
    whole = Instances.concatenate(moved)
    pairs = sorted(_pairs(places, moved), reverse=True)
    group = list(range(len(whole)))
    members: dict[int, list[int]] = {i: [i] for i in group}
    for _, i, j in pairs:
        ours, theirs = group[i], group[j]
        seen = {tile_of[k] for k in members[ours]}
        if ours == theirs or any(tile_of[k] in seen for k in members[theirs]):
            continue
        members[ours] += members.pop(theirs)
        for k in members[ours]:
            group[k] = ours
    merged = [_union(whole, indices) for indices in members.values()]
    return Instances.concatenate(merged).sorted() if merged else whole


def _pairs(places: Sequence[tuple[int, int, int, int]], moved: Sequence[Instances]) -> Iterator[tuple[float, int, int]]:
    """Detections of different tiles that agree, as (how much, index, index)."""
    first = np.concatenate([[0], np.cumsum([len(one) for one in moved])])
    corners = np.array(places).reshape(-1, 4)
    for a in range(len(places)):
        if not len(moved[a]):
            continue
        top_left, bottom_right = np.maximum(corners[a, :2], corners[:, :2]), np.minimum(corners[a, 2:], corners[:, 2:])
        for b in np.flatnonzero((top_left < bottom_right).all(1)):
            if b <= a or not len(moved[b]):
                continue
            low, high = (np.tile(corner[b, ::-1], 2) for corner in (top_left, bottom_right))
            ours, theirs = (one.boxes.clip(low, high) for one in (moved[a], moved[b]))
            agree = iou(ours, theirs) * (moved[a].labels[:, None] == moved[b].labels)
            for i, j in np.argwhere(agree > SAME):
                yield float(agree[i, j]), int(first[a] + i), int(first[b] + j)


def iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """``n x m`` intersections over unions of boxes ``n x 4`` and ``m x 4``; 0 where both are empty."""
    corner = np.maximum(ours[:, None, :2], theirs[:, :2]), np.minimum(ours[:, None, 2:], theirs[:, 2:])
    both = (corner[1] - corner[0]).clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (ours, theirs)]
    return both / np.maximum(areas[0][:, None] + areas[1] - both, 1e-6)


def _union(whole: Instances, indices: list[int]) -> Instances:
    best = max(indices, key=lambda i: whole.scores[i])
    if len(indices) == 1:
        return whole[[best]]
    boxes = whole.boxes[indices]
    box = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])[None]
    masks = None if whole.masks is None else [Mask.union([whole.masks[i] for i in indices])]
    return Instances(box, whole.scores[[best]], whole.labels[[best]], masks)


def label_map(height: int, width: int, tile: int, overlap: float, scores: Iterator[np.ndarray]) -> np.ndarray:
    """The labels of a picture from scores of its tiles, which are averaged where tiles overlap.

    What no later tile will add to is decided at once: in memory are the scores of one tile and of what is shared with
    the next one; those shared with the next row grow with the picture, and lie in a temporary file where they are many.

    Args:
        height: Of the picture.
        width: Of the picture.
        tile: Side of the tiles.
        overlap: Part of the tile that neighbours share at least.
        scores: ``classes x h x w`` float32 for each of :func:`windows`, in that order; taken when they are needed.

    Returns:
        ``height x width``, uint8, or uint16 for more than 255 classes.

    Raises:
        RunError: There is no room for temporary files.
    """
    tops, lefts = starts(height, tile, overlap), starts(width, tile, overlap)
    labels, above, rows_above = np.empty((0, 0)), _strip(), 0
    for row, top in enumerate(tops):
        bottom = min(top + tile, height)
        done_below = tops[row + 1] if row + 1 < len(tops) else height
        below, rows_below, carried = _strip(), bottom - done_below, None
        for column, left in enumerate(lefts):
            sums = np.array(next(scores), np.float32)
            if not labels.size:
                labels = np.empty((height, width), np.uint8 if len(sums) <= 255 else np.uint16)
            if carried is not None:
                sums[:, :, : carried.shape[2]] += carried
            done_right = lefts[column + 1] if column + 1 < len(lefts) else width
            carried = sums[:, :, done_right - left :]
            final = sums[:, :, : done_right - left]
            shared = final[:, :rows_above]
            shared += np.frombuffer(above.read(shared.nbytes), np.float32).reshape(shared.shape)
            labels[top:done_below, left:done_right] = final[:, : done_below - top].argmax(0)
            _write(below, final[:, final.shape[1] - rows_below :].tobytes())
        above.close()
        below.seek(0)
        above, rows_above = below, rows_below
    return labels


def _strip() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(IN_MEMORY)


def _write(strip: IO[bytes], scores: bytes) -> None:
    try:
        strip.write(scores)
    except OSError as error:
        raise RunError(
            f'what tiles share does not fit into {tempfile.gettempdir()} ({error.strerror}): export TMPDIR=DIRECTORY names '
            'another place, a smaller tile shares less'
        ) from error
