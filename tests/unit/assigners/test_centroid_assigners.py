"""Assigners by centroids: mmdet's where centroids are middles of boxes, nearest to the centroid elsewhere."""

import pytest
import torch
from mmdet.models.task_modules.assigners import PointAssigner
from mmengine.structures import InstanceData

from mmswin.assigners import CentroidATSSAssigner, CentroidPointAssigner, MultiLevelATSSAssigner

pytestmark = pytest.mark.usefixtures('mmdet_scope')

BOXES = torch.tensor([[10.0, 10, 50, 40], [30, 20, 90, 80]])
LABELS = torch.tensor([2, 5])


def objects(centers: list[list[float]] | None = None) -> InstanceData:
    middles = (BOXES[:, :2] + BOXES[:, 2:]) / 2
    return InstanceData(bboxes=BOXES, labels=LABELS, centers=middles if centers is None else torch.tensor(centers))


def points() -> torch.Tensor:
    grids = []
    for stride, rows, columns in ((8, 12, 16), (16, 6, 8)):
        y, x = torch.meshgrid(torch.arange(rows) * stride, torch.arange(columns) * stride, indexing='ij')
        grids.append(torch.stack([x.flatten(), y.flatten(), torch.full((rows * columns,), stride)], 1).float())
    return torch.cat(grids)


def boxes_around_points() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    grid = points()
    low, high = (20 * torch.rand(len(grid), 2, generator=generator) + 5 for _ in range(2))
    return torch.cat([grid[:, :2] - low, grid[:, :2] + high, grid[:, 2:]], 1)


def test_points_nearest_to_the_centroid() -> None:
    pred = InstanceData(priors=points())
    plain = PointAssigner(scale=4, pos_num=1).assign(pred, objects())
    assert torch.equal(CentroidPointAssigner(scale=4, pos_num=1).assign(pred, objects()).gt_inds, plain.gt_inds)
    found = CentroidPointAssigner(scale=4, pos_num=1).assign(pred, objects([[15.0, 33], [81, 30]]))
    assert pred.priors[found.gt_inds == 1].tolist() == [[16, 32, 8]]
    assert pred.priors[found.gt_inds == 2].tolist() == [[80, 32, 8]]
    assert found.labels[found.gt_inds > 0].tolist() == [2, 5] or found.labels[found.gt_inds > 0].tolist() == [5, 2]


def test_atss_with_middles_is_mmdets() -> None:
    pred = InstanceData(priors=boxes_around_points())
    found, plain = (kind(topk=9).assign(pred, objects()) for kind in (CentroidATSSAssigner, MultiLevelATSSAssigner))
    assert torch.equal(found.gt_inds, plain.gt_inds) and set(found.gt_inds.tolist()) == {0, 1, 2}
    assert torch.equal(found.labels, plain.labels)


def test_atss_takes_candidates_near_the_centroid() -> None:
    pred = InstanceData(priors=boxes_around_points())
    found = CentroidATSSAssigner(topk=2).assign(pred, objects([[15.0, 33], [81, 30]]))
    middles = (pred.priors[:, :2] + pred.priors[:, 2:4]) / 2
    for index, center in ((1, [15.0, 33]), (2, [81.0, 30])):
        own = middles[found.gt_inds == index]
        assert len(own) and (own - torch.tensor(center)).norm(dim=1).max() < 16


def test_images_without_objects() -> None:
    nothing = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long(), centers=torch.zeros(0, 2))
    assert not CentroidATSSAssigner(topk=9).assign(InstanceData(priors=boxes_around_points()), nothing).gt_inds.any()
    assert not CentroidPointAssigner(pos_num=1).assign(InstanceData(priors=points()), nothing).gt_inds.any()


@pytest.mark.parametrize('name', ['alpha', 'ignore_iof_thr'])
def test_what_it_does_not_read_it_does_not_take(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        CentroidATSSAssigner(topk=9, **{name: 0.5})
