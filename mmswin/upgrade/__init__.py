"""Configurations of mmdet 2.x and mmseg 0.x, the authors' repositories among them, for today's libraries."""

from mmswin.upgrade.translate import Upgraded, render, translate, upgrade_config

__all__ = ['Upgraded', 'render', 'translate', 'upgrade_config']
