"""Necks that mmdet lacks."""

from mmswin.necks.bifpn import BiFPN

__all__ = ['BiFPN']
