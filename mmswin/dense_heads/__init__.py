"""Dense heads that mmdet lacks."""

from mmswin.dense_heads.mask_reppoints_v2_head import AuxiliaryMaskHead, MaskRepPointsV2Head
from mmswin.dense_heads.reppoints_v2_head import RepPointsV2Head

__all__ = ['AuxiliaryMaskHead', 'MaskRepPointsV2Head', 'RepPointsV2Head']
