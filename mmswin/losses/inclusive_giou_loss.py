"""GIoU loss of boxes whose last row and column belong to them."""

from typing import Any

from mmdet.models.losses import GIoULoss
from torch import Tensor

from mmswin.registry import MODELS


@MODELS.register_module()
class InclusiveGIoULoss(GIoULoss):
    """mmdet's GIoU loss with 1 added to all widths and heights, as before its version 2.

    RepPoints V2 was trained with it, on boxes in units of four strides: there the 1 is no small thing, for small boxes
    the loss and its gradients are others.
    """

    def forward(self, pred: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As mmdet's, with boxes N x 4 (x1, y1, x2, y2)."""
        one = pred.new_tensor([0.0, 0.0, 1.0, 1.0])
        return super().forward(pred + one, target + one, *args, **kwargs)
