"""Losses that mmdet lacks."""

from mmswin.losses.inclusive_giou_loss import InclusiveGIoULoss
from mmswin.losses.normalized_focal_loss import NormalizedFocalLoss

__all__ = ['InclusiveGIoULoss', 'NormalizedFocalLoss']
