"""ATSS for priors that carry the stride of their level."""

import torch
from mmdet.models.task_modules.assigners import AssignResult, ATSSAssigner
from mmengine.structures import InstanceData

from mmswin.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MultiLevelATSSAssigner(ATSSAssigner):
    """mmdet's ATSS (Zhang et al., arXiv 1912.02424) called as its other assigners are.

    ATSS has to know which priors are of one level; here it sees that by their strides.
    """

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: object,
    ) -> AssignResult:
        """Assign objects to priors.

        Args:
            pred_instances: ``priors`` (N x 5: x1, y1, x2, y2, stride), level by level.
            gt_instances: ``bboxes`` and ``labels``.
            gt_instances_ignore: ``bboxes`` of regions to ignore.
            kwargs: What callers of other assigners give; not read.
        """
        _, counts = torch.unique_consecutive(pred_instances.priors[:, 4], return_counts=True)
        return super().assign(pred_instances, counts.tolist(), gt_instances, gt_instances_ignore)
