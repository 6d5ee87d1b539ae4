"""Missing libraries, opsets and metadata; whole programs are for test_program.py."""

import json

import pytest
import torch

from mmswin.errors import RunError
from mmswin.export import onnx_file


class Double(torch.nn.Module):
    """As small a graph as can be."""

    def onnx_operators(self):
        return {}

    def forward(self, image):
        return (image * 2,)


def test_a_missing_library_is_named():
    with pytest.raises(RunError, match='pip install no_such_library other_such'):
        onnx_file.require('torch', 'no_such_library', 'other_such')
    assert onnx_file.version_of('torch') == torch.__version__


def test_names_axes_and_metadata_are_in_the_file(libraries, tmp_path):
    program = torch.export.export(Double(), (torch.ones(2, 3),), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    path = tmp_path / 'double.onnx'
    onnx_file.write_onnx(program, Double(), ('double',), {0: 'batch'}, path, opset=18)
    for metadata in ({'outputs': ['x']}, {'outputs': ['double'], 'classes': ['é"<&']}):
        onnx_file.write_metadata(path, metadata)
    model = onnx_file.read(path)
    assert [(entry.key, json.loads(entry.value)) for entry in model.metadata_props] == [('mmswin', metadata)]
    assert [one.name for one in (*model.graph.input, *model.graph.output)] == ['image', 'double']
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == 'batch'
    assert {entry.version for entry in model.opset_import if not entry.domain} == {18}


def test_what_the_exporter_cannot_write_is_said_in_its_words(libraries, tmp_path):
    program = torch.export.export(Double(), (torch.ones(2, 3),))
    with pytest.raises(RunError, match=r'torch\.onnx 2.*report'):
        onnx_file.write_onnx(program, Double(), ('double',), {}, tmp_path / 'missing' / 'double.onnx')
