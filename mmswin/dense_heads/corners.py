"""Corner and foreground maps of RepPoints V2 (arXiv 2007.08508, sections 3.1 to 3.3): targets, and boxes made better by them.

Where the paper and the models of its authors differ, this follows the models. Grid points are multiples of the stride.
"""

import torch
from mmdet.models.utils import gaussian_radius
from torch import Tensor

MIN_IOU = 0.7  # of boxes whose corners lie within the radius


def corner_radii(boxes: Tensor) -> Tensor:
    """How far a corner may be moved so that the box (N x 4; x1, y1, x2, y2 in pixels) keeps an IoU of 0.7; N, in pixels."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).tolist()
    return boxes.new_tensor([gaussian_radius((height, width), MIN_IOU) for width, height in sizes])


def corner_targets(
    boxes: Tensor, stride: int, size: tuple[int, int], valid_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """What the corner maps of one level should be for one image; every object is a target on every level.

    The grid point next to a corner is a positive, 1. Other points within the corner's radius get a Gaussian of their
    distance from it, of a third of the radius as sigma; it softens their loss.

    Args:
        boxes: N x 4 (x1, y1, x2, y2) in pixels.
        stride: Of the level, in pixels.
        size: Rows and columns of the map.
        valid_size: Rows and columns that belong to the image, from the top left; nothing is set beyond.

    Returns:
        Scores (2 x H x W: top left, bottom right), and offsets of the corners from their positives in strides (4 x H x W: x
        and y of the top left, then of the bottom right), 0 elsewhere.
    """
    scores = boxes.new_zeros(2, *size)
    offsets = boxes.new_zeros(4, *size)
    if not len(boxes):
        return scores, offsets
    corners = boxes.view(-1, 2, 2)  # object, corner, (x, y)
    rows, columns = (torch.arange(count, device=boxes.device) * stride for count in valid_size)
    across, down = columns - corners[..., 0, None], rows - corners[..., 1, None]
    squares = down.square()[..., None] + across.square()[..., None, :]
    radii = corner_radii(boxes)[:, None, None, None]
    gaussians = (-squares / (2 * ((2 * radii + 1) / 6).square())).exp()
    scores[:, : len(rows), : len(columns)] = (gaussians * (squares < radii.square())).amax(0)
    last = corners.new_tensor([len(columns) - 1, len(rows) - 1])
    cells = (corners / stride - 0.5).ceil().clamp(min=0).minimum(last)
    x, y = cells.long().unbind(-1)
    which = torch.arange(2, device=boxes.device).expand_as(x)
    scores[which, y, x] = 1.0
    offsets.view(2, 2, *size)[which, :, y, x] = corners / stride - cells
    return scores, offsets


def foreground_targets(
    boxes: Tensor, labels: Tensor, num_classes: int, stride: int, size: tuple[int, int], valid_size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Which cells are within an object's box, for each class, and the objects' weights.

    Args:
        boxes: N x 4 (x1, y1, x2, y2) in pixels.
        labels: N, from 0.
        num_classes: Channels of the maps.
        stride: Of the map, in pixels.
        size: Rows and columns of the map.
        valid_size: Rows and columns that belong to the image, from the top left; nothing is set beyond.

    Returns:
        Map (C x H x W, 0 or 1), and one over the area of the box in pixels where it is 1. A small object stands before a
        large one of its class.
    """
    target = boxes.new_zeros(num_classes, *size)
    weight = torch.zeros_like(target)
    # A box of less than a pixel must not outweigh all else.
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=1.0)
    order = areas.argsort(descending=True, stable=True)
    cells = (boxes.clamp(min=-stride) / stride).long()  # towards 0
    for label, area, (x1, y1, x2, y2) in zip(labels[order].tolist(), areas[order].tolist(), cells[order].tolist()):
        rows = slice(max(y1, 0), min(y2 + 1, valid_size[0]))
        columns = slice(max(x1, 0), min(x2 + 1, valid_size[1]))
        target[label, rows, columns] = 1.0
        weight[label, rows, columns] = 1.0 / area
    return target, weight


def refine_corners(corners: Tensor, scores: Tensor, offsets: Tensor, stride: int) -> Tensor:
    """Move corners to the best of the four grid points around them ("joint inference").

    Args:
        corners: N x 2 (x, y) in pixels.
        scores: H x W, scores or logits of the corner map.
        offsets: 2 x H x W (x, y), where the corner lies from each grid point, in strides.
        stride: Of these maps, in pixels.

    Returns:
        N x 2 (x, y) in pixels.
    """
    last = torch.tensor(scores.shape[::-1], device=corners.device) - 1
    first = (corners / stride).nan_to_num().clamp(min=0).minimum((last - 1).clamp(min=0)).floor().long()
    steps = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]], device=corners.device)
    cells = (first[:, None] + steps).minimum(last)  # corner, neighbour, (x, y)
    best = scores[cells[..., 1], cells[..., 0]].argmax(1)
    x, y = cells[torch.arange(len(cells), device=cells.device), best].unbind(1)
    return (torch.stack([x, y], 1) + offsets[:, y, x].t()) * stride
