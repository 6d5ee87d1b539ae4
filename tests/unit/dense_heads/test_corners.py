"""Targets of corner and foreground maps, and refined corners: values of the released functions."""

import pytest
import torch
from torch import Tensor

from mmswin.dense_heads.corners import corner_radii, corner_targets, foreground_targets, refine_corners

STRIDES = (8, 16, 32, 64, 128)
OBJECTS = torch.tensor([[13.0, 9, 61, 50], [40, 20, 90, 60], [5, 5, 20, 12]])


def positives(scores: Tensor, stride: int) -> list[tuple[int, int]]:
    return [(x * stride, y * stride) for y, x in (scores == 1).nonzero().tolist()]


@pytest.mark.parametrize(
    ('size', 'radius', 'sigma'),
    [
        ((100, 60), 6.0883, 2.1961),
        ((32, 32), 2.6134, 1.0378),
        ((300, 400), 27.9456, 9.4819),
        ((640, 480), 44.7129, 15.0710),
        ((10, 200), 1.4486, 0.6495),
    ],
)
def test_radius(size: tuple[int, int], radius: float, sigma: float) -> None:
    found = corner_radii(torch.tensor([[7.0, 3.0, 7.0 + size[0], 3.0 + size[1]]])).item()
    assert found == pytest.approx(radius, abs=1e-4)
    assert (2 * found + 1) / 6 == pytest.approx(sigma, abs=1e-4)


# For each stride: the positive, its offset, and number and sum of soft negatives.
TOP_LEFT = [
    ((104, 56), (-0.0875, 0.225), 39, 7.7339),
    ((96, 64), (0.4563, -0.3875), 11, 1.5854),
    ((96, 64), (0.2281, -0.1938), 2, 0.0450),
    ((128, 64), (-0.3859, -0.0969), 0, 0.0),
    ((128, 0), (-0.193, 0.4516), 0, 0.0),
]
BOTTOM_RIGHT = [
    ((504, 360), (-0.1125, -0.35), 38, 7.7456),
    ((496, 352), (0.4438, 0.325), 10, 1.5242),
    ((512, 352), (-0.2781, 0.1625), 1, 0.0439),
    ((512, 384), (-0.1391, -0.4187), 0, 0.0),
    ((512, 384), (-0.0695, -0.2094), 0, 0.0),
]


@pytest.mark.parametrize('level', range(5))
def test_corner_maps(level: int) -> None:
    stride = STRIDES[level]
    size = (512 // stride, 640 // stride)
    scores, offsets = corner_targets(torch.tensor([[103.3, 57.8, 503.1, 357.2]]), stride, size, size)
    for corner, expected in enumerate((TOP_LEFT, BOTTOM_RIGHT)):
        point, offset, count, total = expected[level]
        assert positives(scores[corner], stride) == [point]
        x, y = point[0] // stride, point[1] // stride
        assert offsets[2 * corner : 2 * corner + 2, y, x].tolist() == pytest.approx(offset, abs=1e-4)
        soft = scores[corner][(scores[corner] > 0) & (scores[corner] < 1)]
        assert len(soft) == count and soft.sum().item() == pytest.approx(total, abs=1e-4)
    assert (offsets != 0).any(0).sum() == 2


def test_small_objects_have_no_soft_negatives() -> None:
    sizes = {8: (8, 12), 16: (4, 6)}
    found = [corner_targets(OBJECTS[:2], stride, size, size)[0] for stride, size in sizes.items()]
    assert positives(found[0][0], 8) == [(16, 8), (40, 16)]
    assert positives(found[1][0], 16) == [(16, 16), (32, 16)]
    assert all(set(scores.unique().tolist()) == {0, 1} for scores in found)


def test_a_tie_takes_the_first_point_and_positives_stay_in_the_image() -> None:
    scores, offsets = corner_targets(torch.tensor([[12.0, 4.0, 40.0, 31.0]]), 8, (6, 8), (4, 4))
    assert positives(scores[0], 8) == [(8, 0)] and offsets[:2, 0, 1].tolist() == [0.5, 0.5]
    assert positives(scores[1], 8) == [(24, 24)]
    assert offsets[2:, 3, 3].tolist() == [2.0, 0.875]  # larger where the grid ends


def test_grid_points_beyond_the_image_are_no_positives() -> None:
    """Where the object ends with its image, a larger one of the batch has a grid point at its very corner."""
    scores, _ = corner_targets(torch.tensor([[10.0, 10, 64, 48]]), 8, (8, 12), (6, 8))
    assert positives(scores[1], 8) == [(56, 40)] and not scores[:, 6:].any() and not scores[..., 8:].any()


def test_images_without_objects_have_empty_maps() -> None:
    scores, offsets = corner_targets(torch.zeros(0, 4), 8, (4, 6), (4, 6))
    assert scores.shape == (2, 4, 6) and offsets.shape == (4, 4, 6) and not scores.any() and not offsets.any()
    assert not foreground_targets(torch.zeros(0, 4), torch.zeros(0).long(), 3, 8, (4, 6), (4, 6))[0].any()


def test_foreground_maps() -> None:
    labels = torch.tensor([3, 3, 7])
    target, weight = foreground_targets(OBJECTS, labels, 9, 8, (8, 12), (8, 12))
    sizes = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))
    levels = [torch.nn.functional.interpolate(torch.stack([target, weight]), size) for size in sizes]
    assert [int(level[0, 3].sum()) for level in levels] == [69, 15, 2, 0, 0]
    assert [int(level[0, 7].sum()) for level in levels] == [6, 2, 1, 1, 1]
    sums = [level[1].sum().item() for level in levels]
    assert sums == pytest.approx([0.0919843, 0.0266208, 0.0105319, 0.0095238, 0.0095238], abs=1e-6)
    assert weight.unique().tolist() == pytest.approx([0, 0.0005, 0.00050813, 0.00952381], abs=1e-8)
    assert torch.equal(target > 0, weight > 0) and set(target.sum((1, 2)).nonzero().flatten().tolist()) == {3, 7}


def test_foreground_of_a_smaller_image_ends_with_it() -> None:
    target, _ = foreground_targets(torch.tensor([[0.0, 0, 90, 60]]), torch.tensor([0]), 1, 8, (8, 12), (4, 6))
    assert target[0, :4, :6].all() and target.sum() == 24
    outside = torch.tensor([[0.0, -60, 30, -20]])
    assert not foreground_targets(outside, torch.tensor([0]), 1, 8, (8, 12), (8, 12))[0].any()


def test_refined_corners() -> None:
    scores = torch.tensor([[0.0, 1, 0, 0, 5], [2, 0, 0, 3, 0], [0, 0, 4, 0, 0], [0, 6, 0, 0, 7]])
    points = torch.tensor([[3.0, 2], [17, 9], [39, 31], [12, 24], [0, 0], [31.9, 15.9]])
    cells = torch.tensor([[0.0, 1], [2, 2], [4, 3], [1, 3], [0, 1], [3, 1]])
    assert torch.equal(refine_corners(points, scores, torch.zeros(2, 4, 5), 8), cells * 8)
    offsets = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0)) - 0.5
    own = torch.stack([offsets[:, int(y), int(x)] for x, y in cells])
    torch.testing.assert_close(refine_corners(points, scores, offsets, 8), (cells + own) * 8)
    assert refine_corners(points * torch.nan, scores, offsets, 8).isfinite().all()  # of weights that are none


def test_maps_of_one_row_refine_too() -> None:
    points = torch.tensor([[3.0, 2.0], [40.0, 9.0]])
    assert refine_corners(points, torch.tensor([[0.0, 1.0]]), torch.zeros(2, 1, 2), 8).tolist() == [[8, 0], [8, 0]]
    assert refine_corners(points, torch.tensor([[0.0]]), torch.zeros(2, 1, 1), 8).tolist() == [[0, 0], [0, 0]]
