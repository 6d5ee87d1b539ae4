"""Assigners that mmdet lacks."""

from mmswin.assigners.multi_level_atss_assigner import MultiLevelATSSAssigner

__all__ = ['MultiLevelATSSAssigner']
