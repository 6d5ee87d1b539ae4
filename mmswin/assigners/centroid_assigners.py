"""Assigners that go by the middle of an object's mask where mmdet's go by the middle of its box.

``gt_instances`` has ``centers``, the masks' centroids (N x 2; x, y in pixels), besides ``bboxes`` and ``labels``.
"""

import torch
from mmdet.models.task_modules.assigners import AssignResult, PointAssigner
from mmengine.structures import InstanceData

from mmswin.assigners.multi_level_atss_assigner import MultiLevelATSSAssigner
from mmswin.registry import TASK_UTILS


@TASK_UTILS.register_module()
class CentroidPointAssigner(PointAssigner):
    """mmdet's ``PointAssigner``, with the points nearest to the centroid."""

    def assign(
        self, pred_instances: InstanceData, gt_instances: InstanceData, *args: object, **kwargs: object
    ) -> AssignResult:
        """Assign objects to points (``priors``, N x 3: x, y, stride)."""
        boxes, centers = gt_instances.bboxes, gt_instances.centers
        half = (boxes[:, 2:] - boxes[:, :2]) / 2  # size and level stay those of the box
        moved = InstanceData(bboxes=torch.cat([centers - half, centers + half], 1), labels=gt_instances.labels)
        return super().assign(pred_instances, moved, *args, **kwargs)


@TASK_UTILS.register_module()
class CentroidATSSAssigner(MultiLevelATSSAssigner):
    """ATSS whose candidates are the priors nearest to the centroid; all else goes by the box.

    It has neither DDOD's costs (``alpha``) nor ignored regions (``ignore_iof_thr``).
    """

    def __init__(self, topk: int, iou_calculator: dict | None = None) -> None:
        super().__init__(topk, iou_calculator=iou_calculator or dict(type='BboxOverlaps2D'))

    def assign(
        self, pred_instances: InstanceData, gt_instances: InstanceData, *args: object, **kwargs: object
    ) -> AssignResult:
        """Assign objects to priors (N x 5: x1, y1, x2, y2, stride), level by level."""
        boxes = gt_instances.bboxes
        if not len(boxes):
            return super().assign(pred_instances, gt_instances, *args, **kwargs)
        priors, strides = pred_instances.priors.split([4, 1], 1)
        middles = (priors[:, :2] + priors[:, 2:]) / 2
        distances = (middles[:, None] - gt_instances.centers).norm(dim=2)
        candidates, start = [], 0
        for count in torch.unique_consecutive(strides, return_counts=True)[1].tolist():
            of_level = distances[start : start + count]
            candidates.append(of_level.topk(min(self.topk, count), dim=0, largest=False).indices + start)
            start += count
        chosen = torch.cat(candidates)  # candidate, object
        overlaps = self.iou_calculator(priors, boxes).gather(0, chosen)
        from_edges = torch.cat([middles[chosen] - boxes[:, :2], boxes[:, 2:] - middles[chosen]], 2)
        positive = (overlaps >= overlaps.mean(0) + overlaps.std(0)) & (from_edges.amin(2) > 0.01)
        best = overlaps.new_full((len(priors), len(boxes)), -1.0)
        best.scatter_(0, chosen, overlaps.where(positive, overlaps.new_tensor(-1.0)))
        values, objects = best.max(1)
        found = values >= 0
        labels = gt_instances.labels[objects]
        return AssignResult(
            len(boxes), (objects + 1) * found, values, labels=labels.where(found, labels.new_tensor(-1))
        )
