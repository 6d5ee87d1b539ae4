"""Models around mmdet's detectors. Importing them needs mmengine alone, building them mmdet."""

from mmswin.detectors.instance_tta import InstanceTTAModel

__all__ = ['InstanceTTAModel']
