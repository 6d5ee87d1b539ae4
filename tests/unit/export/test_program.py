"""Backbones as one program: equal to the module at every size, in torch, ONNX Runtime and OpenVINO."""

import models
import numpy as np
import pytest
import torch

from mmswin.backbones import SwinMLP, SwinTransformerV2, ViTPyramid
from mmswin.errors import RunError
from mmswin.export import BackboneGraph, onnx_file, openvino_file
from mmswin.export.preprocessing import Deployed, Preprocessing
from mmswin.export.program import record
from mmswin.inference.program_file import open_program

# Batch, height, width: one pixel; smaller than a window; odd at the first, second, third, fourth stage; wide; exact.
SIZES = [
    (1, 1, 1), (2, 1, 9), (1, 5, 7), (3, 16, 33), (1, 33, 47), (2, 28, 57), (1, 57, 28), (1, 64, 96), (2, 65, 95), (1, 36, 100),
    (1, 44, 72), (1, 72, 56), (3, 40, 24), (1, 128, 20), (1, 112, 112), (1, 113, 111), (1, 200, 264),
]  # fmt: skip
# Between them a shift, and one that small maps do not have, rectangular windows, position embedding, strides other than 2 (overlaps, gaps), and no bias.
SWINS = {
    'usual': dict(depths=(1, 2, 1, 1), num_heads=(1, 2, 2, 4), window_size=(3, 5), use_abs_pos_embed=True,
                  pretrain_img_size=(40, 56), attn_backend='sdpa'),
    'bare': dict(depths=(2, 1, 1), num_heads=(1, 2, 2), strides=(4, 3, 1), use_rel_pos_bias=False, qkv_bias=False,
                 patch_norm=False, out_indices=(0, 2), shift_small_maps=False),
}  # fmt: skip


def build(name: str) -> torch.nn.Module:
    if name in ('v2', 'mlp'):
        torch.manual_seed(0)
        kind, window = {'v2': (SwinTransformerV2, 4), 'mlp': (SwinMLP, (3, 5))}[name]
        model = kind(
            embed_dims=8, depths=(2, 1), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1), window_size=window
        )
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        return model.eval()
    if name != 'vit':
        return models.swin(embed_dims=8, **SWINS[name]).eval()
    torch.manual_seed(0)
    model = ViTPyramid(embed_dims=8, patch_size=16, depth=1, num_heads=2, pretrain_img_size=48)
    model.init_weights()
    return model.eval()


def assert_equal(model, *runs) -> None:
    """To 1e-4 of the largest value, at every size."""
    for size in SIZES:
        image = torch.randn(size[0], 3, *size[1:])
        with torch.no_grad():
            expected = model(image)
        for run in runs:
            for one, wanted in zip(run(image.numpy()), expected, strict=True):
                assert tuple(one.shape) == tuple(wanted.shape), size
                assert np.abs(one - wanted.numpy()).max() <= 1e-4 * wanted.abs().max(), size


@pytest.mark.parametrize('name', [*SWINS, 'v2', 'mlp'])
def test_one_program_of_torch_for_every_size(name):
    model = build(name)
    graph = BackboneGraph(model)
    program = record(graph, torch.zeros(2, 3, 200, 264), graph.dynamic).module()
    assert_equal(model, lambda image: [found.detach().numpy() for found in program(torch.from_numpy(image))])
    if name != 'mlp':
        assert all(part.attn.attend is not None for stage in model.layers for part in stage.blocks)


@pytest.mark.parametrize(('name', 'opset'), [
    pytest.param('usual', 20, marks=pytest.mark.slow), ('vit', 18),
])  # fmt: skip
def test_one_file_for_every_size(name, opset, libraries, tmp_path):
    model = build(name)
    graph = Deployed(BackboneGraph(model), Preprocessing(inside=False))
    program = record(graph, torch.zeros(2, 3, 200, 264), graph.dynamic)
    onnx, xml = tmp_path / 'model.onnx', tmp_path / 'model.xml'
    onnx_file.write_onnx(program, graph, graph.output_names, graph.dynamic, onnx, opset)
    metadata = {'outputs': list(graph.output_names), 'precision': 'fp32'}
    openvino_file.write(openvino_file.convert(onnx), xml, metadata)
    onnx_file.write_metadata(onnx, metadata)
    assert {entry.domain for entry in onnx_file.read(onnx).opset_import} == {''}
    assert [size.dim_param for size in onnx_file.read(onnx).graph.input[0].type.tensor_type.shape.dim] == [
        'batch', '', 'height', 'width'
    ]  # fmt: skip
    found = [open_program(str(path), threads=1) for path in (onnx, xml)]
    assert [facts for facts, _ in found] == [metadata, metadata]
    assert_equal(model, *(run for _, run in found))


def test_what_torch_cannot_record_is_said_in_its_words():
    class Asks(torch.nn.Module):
        def forward(self, image):
            return (image[: int(image.sum())],)

    with pytest.raises(RunError, match=r'torch\.export 2.*report'):
        record(Asks(), torch.zeros(2, 3), {0: 'batch'})
