"""Swin V2 of timm, torchvision and transformers, with random weights in float64, against mmswin's; files both ways.

The image's last map is one window, where these libraries do not shift.
"""

import pytest
import torch

from mmswin.backbones import SwinTransformerV2
from mmswin.checkpoints import load_file
from mmswin.checkpoints.convert import translate
from mmswin.checkpoints.convert_file import convert_file
from mmswin.checkpoints.export import export
from mmswin.checkpoints.reference_libraries import LIBRARIES, OUR_BLOCKS, Structure, arguments_of, build, stage_outputs

STRUCTURE = Structure(
    embed_dims=12, depths=(1, 2, 2, 2), num_heads=(1, 2, 3, 4), window=(8, 8), patch=4, channels=3, mlp_ratio=4.0,
    qkv_bias=True, patch_norm=True, grid=None, num_classes=5, network='SwinTransformerV2')  # fmt: skip
MODELS = {'timm': 'classifier', 'torchvision': 'classifier', 'Swinv2Model': 'backbone', 'Swinv2Backbone': 'backbone',
          'Swinv2ForImageClassification': 'classifier'}  # fmt: skip


def _library(name):
    return name if name in LIBRARIES else 'transformers'


def _build(name, structure=STRUCTURE):
    model = build(_library(name), structure, None, 'classifier' if name == _library(name) else name)
    torch.manual_seed(0)
    with torch.no_grad():
        for key, value in model.named_parameters():
            scale = 0.1 if value.dim() == 1 else 1.0 if 'logit_scale' in key else value[0].numel() ** -0.5
            value.copy_(torch.randn_like(value) * scale + 2 * ('logit_scale' in key))
            if 'norm' in key and key.endswith('weight'):
                value.add_(1)
    return model.double().eval()


def _ours(weights, structure=STRUCTURE):
    arguments = arguments_of(structure)
    ours = SwinTransformerV2(**arguments, attn_backend='reference', shift_small_maps=False).double().eval()
    ours.load_state_dict(dict(weights), strict=False)
    return ours


def _difference(name, structure=STRUCTURE):
    theirs = _build(name, structure)
    ours = _ours(theirs.state_dict(), structure)
    assert (ours.load_report.format, ours.load_report.loaded) == (_library(name), ours.load_report.total)
    image = torch.randn(2, 3, *structure.image, dtype=torch.float64)
    found, expected = stage_outputs(ours, OUR_BLOCKS, image), stage_outputs(theirs, LIBRARIES[_library(name)][1], image)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected, strict=True))


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('name', MODELS)
def test_features_and_weights(name):
    difference = _difference(name)
    print(f'{name}: {difference:.1e}')
    assert difference <= 1e-10
    weights = _build(name).state_dict()
    back = translate(export(weights, _library(name)).tensors)
    for key, value in translate(weights).tensors.items():
        assert torch.equal(back.tensors[key], value), key


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('name', ['timm', 'Swinv2Model'])
def test_offsets_in_windows_of_the_weights(name):
    assert _difference(name, STRUCTURE._replace(pretrained=6)) <= 1e-10


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('target', ['timm', 'torchvision', 'transformers'])
@pytest.mark.parametrize('name', ['torchvision', 'Swinv2ForImageClassification'])
def test_conversion_proves_itself(name, target, tmp_path):
    torch.save(_build(name).float().state_dict(), tmp_path / 'source.pth')
    said = []
    convert_file(str(tmp_path / 'source.pth'), tmp_path / 'target.pth', target, say=said.append)
    assert any(line.startswith(f'verified   {target} ') for line in said), said
    written = load_file(tmp_path / 'target.pth')
    source, target = (translate(weights).tensors for weights in (load_file(tmp_path / 'source.pth'), written))
    for key, value in source.items():
        assert torch.equal(target[key], value), key
