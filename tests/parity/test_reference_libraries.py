"""Files of timm, torchvision and transformers: the real libraries' networks, with random weights, against mmswin's.

Features are compared on images whose maps are multiples of the window and larger than it at every stage, where these
libraries compute the reference's function; transformers' backbones do so at any size. Weights are equal to the bit.
"""

import importlib
from pathlib import Path

import pytest
import torch

from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import load_file
from mmswin.checkpoints.convert import translate
from mmswin.checkpoints.convert_file import convert_file
from mmswin.checkpoints.export import export
from mmswin.checkpoints.reference_libraries import LIBRARIES, OUR_BLOCKS, Structure, build, stage_outputs
from mmswin.checkpoints.resize import resize_bias_table

OURS = dict(embed_dims=12, depths=(1, 2, 2, 1), num_heads=(1, 2, 3, 4), window_size=4)
MODELS = ['timm', 'timm features', 'torchvision', 'SwinModel', 'SwinForImageClassification', 'SwinBackbone']


STRUCTURE = Structure(
    embed_dims=12, depths=(1, 2, 2, 1), num_heads=(1, 2, 3, 4), window=(4, 4), patch=4, channels=3, mlp_ratio=4.0,
    qkv_bias=True, patch_norm=True, grid=None, num_classes=5)  # fmt: skip


def _upernet():
    import transformers

    config = build('transformers', STRUCTURE, None, 'SwinBackbone').config
    config = transformers.UperNetConfig(
        backbone_config=config, num_labels=5, hidden_size=16, auxiliary_channels=8)  # fmt: skip
    return transformers.UperNetForSemanticSegmentation(config)


def _build(name):
    if name == 'UperNetForSemanticSegmentation':
        model = _upernet()
    else:
        options = dict(strict_img_size=False, always_partition=True) if 'timm' in name else {}
        model = build(_library(name), STRUCTURE, None, 'classifier' if 'timm' in name else name, **options)
    if name == 'timm features':
        model = importlib.import_module('timm.models._features').FeatureListNet(
            model, out_indices=(0, 1, 2, 3), flatten_sequential=True
        )
    torch.manual_seed(0)
    with torch.no_grad():
        for key, value in model.named_parameters():
            scale = 0.5 if 'bias_table' in key else 0.1 if value.dim() == 1 else value[0].numel() ** -0.5
            value.copy_(torch.randn_like(value) * scale + ('norm' in key and key.endswith('weight')))
    return model.eval()


def _library(name):
    return name.split()[0] if name.split()[0] in LIBRARIES else 'transformers'


def _blocks(name):
    return r'layers_(\d+)\.blocks\.\d+' if name == 'timm features' else LIBRARIES[_library(name)][1]


def _loaded(weights, **changes):
    model = SwinTransformer(**{**OURS, **changes}).eval()
    model.load_state_dict(dict(weights), strict=False)
    return model


def _differ(expected, found):
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(found, expected, strict=True))


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('name', MODELS)
def test_features_and_weights(name):
    theirs = _build(name)
    weights = theirs.state_dict()
    ours = _loaded(weights)
    assert ours.load_report.format == _library(name)
    assert ours.load_report.loaded == ours.load_report.total
    image = torch.randn(2, 3, 256, 256)
    difference = _differ(stage_outputs(theirs, _blocks(name), image), stage_outputs(ours, OUR_BLOCKS, image))
    print(f'{name}: {difference:.1e}')
    assert difference <= 1e-5
    # In a detector, too, and on the way back every tensor is what it was.
    inside = _loaded({'module.backbone.' + key: value for key, value in weights.items()})
    for key, value in ours.state_dict().items():
        assert torch.equal(inside.state_dict()[key], value), key
    back = translate(export(weights, _library(name)).tensors)
    for key, value in translate(weights).tensors.items():
        assert torch.equal(back.tensors[key], value), key


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('size', [(100, 140), (33, 47)])
def test_upernet_of_transformers_is_that_of_mmseg(size):
    pytest.importorskip('mmseg.models')
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS as registry

    theirs = _build('UperNetForSemanticSegmentation')
    norm = dict(type='BN')
    with DefaultScope.overwrite_default_scope('mmseg'):
        ours = registry.build(dict(
            type='EncoderDecoder', backbone=dict(type='mmswin.SwinTransformer', **OURS),
            decode_head=dict(
                type='UPerHead', in_channels=[12, 24, 48, 96], in_index=[0, 1, 2, 3], pool_scales=(1, 2, 3, 6),
                channels=16, num_classes=5, norm_cfg=norm, align_corners=False),
            auxiliary_head=dict(
                type='FCNHead', in_channels=48, in_index=2, channels=8, num_convs=1, concat_input=False, num_classes=5,
                norm_cfg=norm, align_corners=False)))  # fmt: skip
    converted = export(theirs.state_dict(), 'mmseg')
    ours.load_state_dict(converted.content['state_dict'], strict=False)
    assert ours.backbone.load_report.loaded == ours.backbone.load_report.total
    ours.eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        found = ours.encode_decode(image, [dict(img_shape=size)])
        expected = theirs(image).logits
    assert _differ([expected], [found]) <= 1e-5
    back = export(converted.tensors, 'transformers').tensors
    assert back['decode_head.classifier.weight'].equal(theirs.decode_head.classifier.weight)
    assert {key for key in theirs.state_dict() if key.startswith(('decode_head', 'auxiliary'))} <= back.keys()


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('name', MODELS[3:])
def test_files_as_transformers_writes_them(name, tmp_path):
    theirs = _build(name)
    theirs.save_pretrained(tmp_path)
    written = load_file(tmp_path / 'model.safetensors')
    assert any('attention.self.query' in key for key in written)
    ours, plain = _loaded(written), _loaded(theirs.state_dict())
    for key, value in plain.state_dict().items():
        if not key.startswith('norm') or name == 'SwinBackbone':
            assert torch.equal(ours.state_dict()[key], value), key
    # What is written for transformers has the very names of its files, and the old buffers.
    names = {key.removeprefix('swin.') if name == 'SwinBackbone' else key for key in written}
    exported = export(written, 'transformers')
    assert exported.model == name
    found = {key for key in exported.tensors if 'relative_position_index' not in key}
    assert found == {key for key in names if name != 'SwinBackbone' or not key.startswith('layernorm')}


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('target', ['timm', 'torchvision', 'transformers', 'mmdet', 'mmseg'])
@pytest.mark.parametrize('name', ['timm', 'SwinForImageClassification'])
def test_conversion_proves_itself(name, target, tmp_path):
    torch.save(_build(name).state_dict(), tmp_path / 'source.pth')
    said = []
    convert_file(str(tmp_path / 'source.pth'), tmp_path / 'target.pth', target, say=said.append)
    assert any(line.startswith(f'verified   {target} ') for line in said), said
    ours = [_loaded(load_file(tmp_path / f'{which}.pth').get('state_dict') or load_file(tmp_path / f'{which}.pth'))
            for which in ('source', 'target')]  # fmt: skip
    for key, value in ours[0].state_dict().items():
        assert torch.equal(ours[1].state_dict()[key], value), key


@pytest.mark.usefixtures('peers')
def test_a_wrong_conversion_is_not_written(tmp_path, monkeypatch):
    from mmswin.checkpoints import CheckpointError, convert

    torch.save(_loaded({}).state_dict(), tmp_path / 'source.pth')
    # As if the order of patch merging had been forgotten, in both directions.
    monkeypatch.setattr(convert, 'blocks_to_channel_major', lambda tensor: tensor)
    monkeypatch.setattr(convert, 'channel_major_to_blocks', lambda tensor: tensor)
    with pytest.raises(CheckpointError, match=r'mmdet \S+ computes other features from what was converted'):
        convert_file(str(tmp_path / 'source.pth'), tmp_path / 'target.pth', 'mmdet', say=lambda line: None)
    assert not (tmp_path / 'target.pth').exists()


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize(('old', 'new'), [(7, 12), (12, 7), (12, 24), (7, (8, 6))])
def test_resizing_of_bias_tables_equals_that_of_timm(old, new):
    from timm.layers.pos_embed_rel import resize_rel_pos_bias_table_simple

    new = new if isinstance(new, tuple) else (new, new)
    torch.manual_seed(0)
    table = torch.randn((2 * old - 1) ** 2, 6)
    rows = (2 * new[0] - 1) * (2 * new[1] - 1)
    expected = resize_rel_pos_bias_table_simple(table, new, (rows, 6))
    torch.testing.assert_close(resize_bias_table(table, (old, old), new), expected, rtol=0, atol=1e-4)


@pytest.mark.usefixtures('peers')
@pytest.mark.parametrize('name', ['timm', 'torchvision', 'transformers'])
def test_the_benchmark_builds_them_with_equal_maps_and_gradients(name, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / 'benchmarks'))
    from swinbench import cases, implementations
    from swinbench.cases import Case, Repetition

    case = Case('T', 4, (1, 40, 100), 'training', 'float32', 'cpu')
    size = implementations.compared_at(name, case)
    assert size == {'timm': (1, 256, 256)}.get(name, (1, 160, 160))
    case = case._replace(size=size)
    ours = implementations.randomize(implementations.ours('T', 4, 'reference'))
    theirs = implementations.build(name, case, ours.state_dict(), 1, tmp_path / 'weights.pth')
    assert cases.error(*(Repetition(network, case).outputs() for network in (theirs, ours))) <= 1e-5
