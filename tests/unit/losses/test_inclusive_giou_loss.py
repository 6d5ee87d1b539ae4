"""GIoU with 1 added to widths and heights: values of the released functions."""

import pytest
import torch
from mmdet.models.losses import GIoULoss

from mmswin.losses import InclusiveGIoULoss


@pytest.mark.parametrize(
    ('box', 'other', 'inclusive', 'plain'),
    [
        ((0, 0, 2, 2), (1, 1, 3, 3), 0.839286, 1.079365),
        ((3, 1, 4, 5), (3, 1, 4, 5), 0.0, 0.0),
        ((0, 0, 1, 1), (5, 5, 6, 6), 1.836735, 1.944444),
    ],
)
def test_values(box: tuple, other: tuple, inclusive: float, plain: float) -> None:
    boxes = torch.tensor([box, other]).float().split(1)
    assert InclusiveGIoULoss()(*boxes).item() == pytest.approx(inclusive, abs=1e-5)
    assert GIoULoss()(*boxes).item() == pytest.approx(plain, abs=1e-5)


def test_weights_and_factors_are_those_of_mmdet() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1]])
    others = torch.tensor([[1.0, 1, 3, 3], [5, 5, 6, 6]])
    weight = torch.tensor([[1.0] * 4, [0.5] * 4])
    loss = InclusiveGIoULoss(loss_weight=2.0)(boxes, others, weight, avg_factor=4)
    assert loss.item() == pytest.approx(2 * (0.839286 + 0.5 * 1.836735) / 4, abs=1e-5)
    assert InclusiveGIoULoss()(boxes, others, torch.zeros(2, 4), avg_factor=1).item() == 0
