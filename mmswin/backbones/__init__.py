"""Backbones, registered with scope ``mmswin``."""

from mmswin.backbones.swin import SwinTransformer
from mmswin.backbones.vit_pyramid import ViTPyramid

__all__ = ['SwinTransformer', 'ViTPyramid']
