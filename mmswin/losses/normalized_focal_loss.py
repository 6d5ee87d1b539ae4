"""Focal loss of binary maps, normalised by the weights of their positive cells (RepPoints V2, arXiv 2007.08508, 3.2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmswin.registry import MODELS


@MODELS.register_module()
class NormalizedFocalLoss(nn.Module):
    """Focal loss in which every object has the same share, whatever its size.

    Positive cells: the mean of their losses by weight, which is one over the object's area. All others: the sum of
    their losses over the number of positive cells. Without a positive cell the others are divided by 1.

    Args:
        alpha: Share of the positives; the others have 1 - alpha.
        gamma: Power of the modulating factor.
        loss_weight: What the loss is multiplied by.
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.gamma = gamma
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Loss, a scalar.

        Args:
            logits: Logits of any shape.
            target: 1 for positive cells, 0 for others; of the same shape.
            weight: Weights of the positive cells; of the same shape.
        """
        positive = target > 0
        probability = logits.sigmoid()
        on = -F.logsigmoid(logits) * (1 - probability) ** self.gamma * weight * positive
        off = -F.logsigmoid(-logits) * probability**self.gamma * ~positive
        total = (weight * positive).sum()
        total = total.where(total > 0, total.new_ones(()))
        loss = self.alpha * on.sum() / total + (1 - self.alpha) * off.sum() / positive.sum().clamp(min=1)
        return self.loss_weight * loss
