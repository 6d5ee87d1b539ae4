"""OpenVINO's files: metadata, outputs that are dropped, and what is quantised."""

import numpy as np
import pytest

from mmswin.errors import RunError
from mmswin.export import openvino_file
from mmswin.inference.program_file import open_program

METADATA = {'outputs': ['scores'], 'precision': 'fp32', 'classes': ['é"<&']}


@pytest.fixture
def model(libraries):
    """A convolution, whose map is the second output, then another one."""
    import openvino
    from openvino import opset13 as ops

    generator = np.random.default_rng(0)
    image = ops.parameter([1, 3, -1, -1], np.float32, name='image')

    def convolution(x, name: str, inside: int, outside: int):
        weights = generator.normal(size=(outside, inside, 3, 3)).astype(np.float32)
        return ops.convolution(x, ops.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1], name=name)

    maps = convolution(image, 'backbone', 3, 8)
    return openvino.Model([convolution(ops.relu(maps), 'head', 8, 2), maps], [image], 'model')


def types(model) -> list[str]:
    return sorted(node.get_type_name() for node in model.get_ops())


def test_outputs_are_dropped_and_metadata_kept(model, tmp_path):
    import openvino

    whole = openvino_file.without_last_outputs(model, 1)
    assert (len(model.outputs), len(whole.outputs)) == (2, 1)
    assert openvino_file.without_last_outputs(model, 0) is model
    path = tmp_path / 'model.xml'
    openvino_file.write(whole, path, METADATA)
    found, run = open_program(str(path), threads=1)
    assert found == METADATA
    (scores,) = run(np.ones((1, 3, 4, 5), np.float32))
    assert scores.shape == (1, 2, 4, 5)
    assert types(openvino.Core().read_model(str(path))) == types(whole)


def test_only_what_lies_before_the_maps_is_quantised(model):
    pytest.importorskip('nncf', reason='nncf: NOT CHECKED, it is not installed (make peers installs it)')
    images = [np.random.default_rng(i).normal(size=(1, 3, 16, 20)).astype(np.float32) for i in range(3)]
    quantized = openvino_file.quantize(model, 1, images)
    assert len(quantized.outputs) == 1
    assert 'FakeQuantize' in types(quantized)
    nodes = {
        node.get_friendly_name().split('/')[0]: node
        for node in quantized.get_ops()
        if node.get_type_name() == 'Convolution'
    }

    def sources(node) -> set[str]:
        return {value.get_source_output().get_node().get_type_name() for value in node.inputs()}

    assert 'FakeQuantize' in sources(nodes['backbone']) and 'FakeQuantize' not in sources(nodes['head'])


def test_what_openvino_cannot_read_is_said_in_its_words(libraries, tmp_path):
    (tmp_path / 'broken.onnx').write_bytes(b'no program')
    with pytest.raises(RunError, match='openvino 20.*report'):
        openvino_file.convert(tmp_path / 'broken.onnx')
