"""ATSS that sees levels by strides assigns as mmdet's, which is told them."""

import pytest
import torch
from mmdet.models.task_modules.assigners import ATSSAssigner
from mmengine.structures import InstanceData

from mmswin.assigners import MultiLevelATSSAssigner

pytestmark = pytest.mark.usefixtures('mmdet_scope')


def test_assigns_as_mmdets() -> None:
    generator = torch.Generator().manual_seed(0)
    counts, strides = [120, 30, 7], [8, 16, 32]
    centers = torch.rand(157, 2, generator=generator) * 100
    priors = torch.cat([centers - 12, centers + 12 * torch.rand(157, 2, generator=generator)], 1)
    stride = torch.tensor(strides).repeat_interleave(torch.tensor(counts)).float()[:, None]
    objects = InstanceData(bboxes=torch.tensor([[10.0, 10, 50, 40], [30, 20, 90, 80]]), labels=torch.tensor([2, 5]))
    found = MultiLevelATSSAssigner(topk=9).assign(InstanceData(priors=torch.cat([priors, stride], 1)), objects)
    expected = ATSSAssigner(topk=9).assign(InstanceData(priors=priors), counts, objects)
    assert torch.equal(found.gt_inds, expected.gt_inds) and set(found.gt_inds.tolist()) == {0, 1, 2}
    assert torch.equal(found.labels, expected.labels)
