"""Models around mmdet's detectors. Importing them needs mmengine alone, building them mmdet; those that are mmdet's own
classes extended are imported when they are asked for (:mod:`mmswin.registry`).
"""

from mmswin.detectors.instance_tta import InstanceTTAModel

__all__ = ['InstanceTTAModel']
