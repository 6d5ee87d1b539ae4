"""Assigners that mmdet lacks."""

from mmswin.assigners.centroid_assigners import CentroidATSSAssigner, CentroidPointAssigner
from mmswin.assigners.multi_level_atss_assigner import MultiLevelATSSAssigner

__all__ = ['CentroidATSSAssigner', 'CentroidPointAssigner', 'MultiLevelATSSAssigner']
