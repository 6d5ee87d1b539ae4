"""Models as programs that run without mmswin: recorded by torch.export, translated to ONNX and OpenVINO.

``program`` says what a graph is, records one, and wraps backbones; ``segmentors`` and ``detectors`` make graphs of models of
mmseg and mmdet; ``preprocessing`` is what is done with a picture before; ``onnx_file`` and ``openvino_file`` the formats.
"""

from mmswin.export.program import BackboneGraph, record

__all__ = ['BackboneGraph', 'record']
