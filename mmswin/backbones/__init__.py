"""Backbones, registered with scope ``mmswin``."""

from mmswin.backbones.swin import SwinTransformer

__all__ = ['SwinTransformer']
