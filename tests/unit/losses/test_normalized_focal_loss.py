"""Normalised focal loss: the value of the released function, and what that one cannot do."""

import pytest
import torch

from mmswin.losses import NormalizedFocalLoss


def test_value() -> None:
    logits, target = torch.tensor([-2.0, 0.5, 1.0, -1.0]), torch.tensor([0.0, 1.0, 1.0, 0.0])
    weight = torch.tensor([0.0, 1 / 400, 1 / 100, 0.0])
    loss = NormalizedFocalLoss()(logits, target, weight)
    assert loss.item() == pytest.approx(0.01708339, abs=1e-8)
    assert NormalizedFocalLoss(loss_weight=0.1)(logits, target, weight).item() == pytest.approx(0.1 * loss.item())


def test_a_batch_without_objects_has_a_finite_loss() -> None:
    logits = torch.tensor([-4.6, 0.3], requires_grad=True)
    loss = NormalizedFocalLoss()(logits, torch.zeros(2), torch.zeros(2))
    probability = logits.detach().sigmoid()
    expected = (-0.75 * probability**2 * (1 - probability).log()).sum()
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert logits.grad.isfinite().all()


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    loss = NormalizedFocalLoss()(logits, torch.tensor([0.0, 1.0]), torch.ones(2))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
