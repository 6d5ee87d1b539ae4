"""Non-maximum suppression and RoIAlign as operators: values by hand, and shapes that torch.export may rely on."""

import pytest
import torch

pytest.importorskip('mmcv.ops')
from mmswin.export import operators  # noqa: E402

BOXES = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 5.0], [0.0, 0.0, 10.0, 9.0], [20.0, 0.0, 30.0, 10.0]])
SCORES = torch.tensor([0.8, 0.7, 0.9, 0.1])


def check(operator, *arguments):
    torch.library.opcheck(operator, arguments, test_utils=('test_schema', 'test_faketensor'))
    return operator(*arguments)


def test_better_boxes_drop_those_that_they_overlap_by_more_than_the_threshold():
    assert check(operators.nms, BOXES, SCORES, 0.6, 9).tolist() == [2, 1, 3]  # IoU 0.9, 5 / 9
    assert check(operators.nms, BOXES, SCORES, 0.5, 9).tolist() == [2, 3]
    assert check(operators.nms, BOXES, SCORES, 0.95, 2).tolist() == [2, 0]
    assert check(operators.nms, BOXES[:0], SCORES[:0], 0.5, 9).tolist() == []


def test_cells_of_a_ramp_hold_their_middles():
    x = torch.stack([torch.arange(12.0).expand(8, 12) + 0.5, torch.arange(8.0)[:, None].expand(8, 12) + 0.5])[None]
    boxes = torch.tensor([[4.0, 2.0, 16.0, 14.0], [6.0, 6.0, 18.0, 9.0]])  # of an image twice as large
    found = check(operators.roi_align, x, boxes, 3, 2, 0.5, 0, True)
    columns = torch.tensor([[3.5, 6.5], [4.5, 7.5]])[:, None].expand(2, 3, 2)
    rows = torch.tensor([[2.0, 4.0, 6.0], [3.25, 3.75, 4.25]])[:, :, None].expand(2, 3, 2)
    torch.testing.assert_close(found, torch.stack([columns, rows], 1))
    assert check(operators.roi_align, x, boxes[:0], 3, 2, 0.5, 0, True).shape == (0, 2, 3, 2)
