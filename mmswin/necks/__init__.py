"""Necks that mmdet lacks."""

from mmswin.necks.bifpn import BiFPN
from mmswin.necks.global_block import GlobalBlock

__all__ = ['BiFPN', 'GlobalBlock']
