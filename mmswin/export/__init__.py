"""Trained models as programs that run without mmswin: torch.export, ONNX, OpenVINO; each is compared before it is kept.

============================  =======================================================================================
``program``                           what a graph is; recording one; backbones
``segmentors``, ``detectors``,        models of mmseg, mmdet and mmpretrain as graphs
``classifiers``
``preprocessing``                     what is done with a picture before, in the program or noted
``onnx_file``, ``openvino_file``      the formats
``comparison``, ``accuracy``          equal to the model; what less precision costs
``printed``                           what exporters print, held back
``files``                             all of it, as ``mmswin export`` does it
============================  =======================================================================================
"""

from mmswin.export.files import Request, export_file
from mmswin.export.program import BackboneGraph, record

__all__ = ['BackboneGraph', 'Request', 'export_file', 'record']
