"""Backbones, registered with scope ``mmswin``."""

from mmswin.backbones.masked import MaskedSwinTransformer, MaskedSwinTransformerV2
from mmswin.backbones.swin import SwinTransformer
from mmswin.backbones.swin_mlp import SwinMLP
from mmswin.backbones.swin_v2 import SwinTransformerV2
from mmswin.backbones.vit_hybrid import ViTHybrid
from mmswin.backbones.vit_pyramid import ViTPyramid

__all__ = [
    'MaskedSwinTransformer',
    'MaskedSwinTransformerV2',
    'SwinMLP',
    'SwinTransformer',
    'SwinTransformerV2',
    'ViTHybrid',
    'ViTPyramid',
]
