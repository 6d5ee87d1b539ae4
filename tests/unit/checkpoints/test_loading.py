"""Files of the authors, mmdet and mmseg load as they are on every path, with a true report; others are refused."""

import pytest
import torch
from mmengine.model import PretrainedInit
from mmengine.runner import load_checkpoint, load_state_dict
from models import TINY_SHIFTED as TINY
from torch import nn

from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import CheckpointError, load_file, load_weights
from mmswin.checkpoints.convert import (
    blocks_to_channel_major,
    channel_major_to_blocks,
    to_format,
    translate,
    variant_of,
)
from mmswin.checkpoints.formats import OPENMMLAB
from mmswin.checkpoints.loading import translate_classifier
from mmswin.checkpoints.naming import rename
from mmswin.checkpoints.resize import resize_bias_table, resize_position_embedding, table_window


def _swin(**changes):
    model = SwinTransformer(**{**TINY, **changes})
    model.init_weights()
    return model


def _classifier(backbone):
    """What the authors' classification file holds for a backbone."""
    weights = {name: value for name, value in backbone.state_dict().items() if not name.startswith('norm')}
    weights |= {'norm.weight': torch.ones(96), 'norm.bias': torch.zeros(96)}
    weights |= {'head.weight': torch.zeros(1000, 96), 'head.bias': torch.zeros(1000)}
    for i in range(4):
        for j in range(2):
            weights[f'layers.{i}.blocks.{j}.attn.relative_position_index'] = torch.zeros(16, 16, dtype=torch.long)
        weights[f'layers.{i}.blocks.1.attn_mask'] = torch.zeros(4, 16, 16)
    return {'model': weights, 'epoch': 299, 'optimizer': {}}


def _detector(weights):
    """What a detector's file holds around a backbone."""
    wrapped = {'backbone.' + name: value for name, value in weights.items()}
    return {'state_dict': wrapped | {'neck.lateral_convs.0.conv.weight': torch.zeros(3)}, 'meta': {'epoch': 12}}


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = SwinTransformer(**TINY)
        self.head = nn.Linear(2, 2)


def _assert_same(model, source, skip=()):
    for name, value in source.state_dict().items():
        if not name.startswith(skip):
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0, msg=name)


def test_python_style_configs_name_the_class(tmp_path):
    source = _swin()
    torch.save(_classifier(source), tmp_path / 'cls.pth')
    model = SwinTransformer(**TINY, init_cfg=dict(type=PretrainedInit, checkpoint=str(tmp_path / 'cls.pth')))
    model.init_weights()
    _assert_same(model, source, skip=('norm',))
    assert model.load_report.format == 'authors'


def test_authors_classifier(tmp_path):
    source = _swin()
    torch.save(_classifier(source), tmp_path / 'cls.pth')
    model = SwinTransformer(**TINY)
    report = load_weights(model, tmp_path / 'cls.pth')
    _assert_same(model, source, skip=('norm',))
    assert report is model.load_report
    assert report.format == 'authors'
    assert report.loaded == report.total
    assert report.missing == [f'norm{i}.{kind}' for i in range(4) for kind in ('weight', 'bias')]
    assert report.unexpected == []
    assert sorted(report.unused) == ['head.bias', 'head.weight', 'norm.bias', 'norm.weight']
    total, path = report.total, tmp_path / 'cls.pth'
    assert report.summary().startswith(f'loaded {total} of {total} backbone tensors from {path} (authors')
    assert '8 left as initialised (norm0.weight' in report.summary()


@pytest.mark.parametrize('openmmlab', [False, True])
def test_detector_files_on_every_path(tmp_path, openmmlab):
    source = _swin()
    weights = to_format(source.state_dict(), OPENMMLAB) if openmmlab else source.state_dict()
    path = str(tmp_path / 'detector.pth')
    torch.save(_detector(weights), path)
    checkpoint = torch.load(path, weights_only=True)

    alone = SwinTransformer(**TINY, init_cfg=dict(type='Pretrained', checkpoint=path))
    alone.init_weights()
    plain, runner, file = Detector(), Detector(), Detector()
    plain.load_state_dict(checkpoint['state_dict'], strict=False)
    load_state_dict(runner, checkpoint['state_dict'], strict=False)
    load_checkpoint(file, path)
    for model in (alone, plain.backbone, runner.backbone, file.backbone):
        _assert_same(model, source)
        assert model.load_report.format == ('openmmlab' if openmmlab else 'authors')
        assert model.load_report.loaded == model.load_report.total


def test_strict_loading_stays_strict():
    source = Detector()
    weights = {'backbone.' + name: value for name, value in to_format(source.backbone.state_dict(), OPENMMLAB).items()}
    weights |= {'head.weight': torch.zeros(2, 2), 'head.bias': torch.zeros(2)}
    Detector().load_state_dict(weights, strict=True)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*backbone\.layers\.0\.blocks\.0\.attn\.extra'):
        Detector().load_state_dict(weights | {'backbone.stages.0.blocks.0.attn.w_msa.extra': torch.zeros(1)})
    del weights['backbone.norm3.bias']
    with pytest.raises(RuntimeError, match=r'Missing key.*backbone\.norm3\.bias'):
        Detector().load_state_dict(weights)


def test_loading_leaves_the_callers_dictionary_alone():
    weights = to_format(_swin().state_dict(), OPENMMLAB)
    names = list(weights)
    SwinTransformer(**TINY).load_state_dict(weights)
    assert list(weights) == names


def test_heads_alone_do_not_disturb_the_backbone():
    model = Detector()
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    model.load_state_dict({'head.weight': torch.ones(2, 2)}, strict=False)
    assert model.backbone.load_report is None
    for name, value in before.items():
        torch.testing.assert_close(model.backbone.state_dict()[name], value)


def test_stages_that_are_not_built_are_left_out():
    source = _swin()
    model = SwinTransformer(**TINY, out_indices=(1,))
    model.load_state_dict(source.state_dict(), strict=True)
    _assert_same(source, model)
    assert any(name.startswith('layers.3') for name in model.load_report.unused)
    assert 'layers.1.downsample.norm.weight' in model.load_report.unused


def test_merging_permutations_are_inverse_and_as_specified():
    neighbours = [(0, 0), (1, 0), (0, 1), (1, 1)]  # our order, (row, column)
    width = 3
    ours = torch.tensor([channel * 100 + row * 10 + column for row, column in neighbours for channel in range(width)])
    unfold = torch.tensor(
        [channel * 100 + row * 10 + column for channel in range(width) for row in (0, 1) for column in (0, 1)]
    )
    assert torch.equal(channel_major_to_blocks(unfold), ours)
    assert torch.equal(blocks_to_channel_major(ours), unfold)


def test_names_translate_both_ways():
    back = [(ours, theirs) for theirs, ours in OPENMMLAB.templates]
    for name in SwinTransformer(**TINY, use_abs_pos_embed=True).state_dict():
        theirs = rename(name, back)
        assert rename(theirs, OPENMMLAB.templates) == name
        assert not theirs.startswith('layers.')


def test_variant_is_read_off_the_tensors():
    variant = variant_of(translate(to_format(_swin().state_dict(), OPENMMLAB)).tensors)
    assert variant == (12, (2, 2, 2, 2), (1, 2, 3, 4))


def test_resizing():
    table = torch.randn(169, 3)
    assert table_window(169) == (7, 7)
    assert table_window(13 * 11) is None
    bigger = resize_bias_table(table, (7, 7), (12, 12))
    assert bigger.shape == (529, 3)
    torch.testing.assert_close(resize_bias_table(table, (7, 7), (7, 7)), table)
    flat = resize_bias_table(torch.full((169, 3), 2.5), (7, 7), (6, 8))
    torch.testing.assert_close(flat, torch.full((11 * 15, 3), 2.5))
    # The middle of the table, offset (0, 0), stays the middle.
    peak = torch.zeros(169, 1)
    peak[84] = 1
    assert resize_bias_table(peak, (7, 7), (12, 12)).argmax() == 264
    embedding = torch.randn(1, 16, 5)
    torch.testing.assert_close(
        resize_position_embedding(embedding, (4, 4)), embedding.transpose(1, 2).reshape(1, 5, 4, 4)
    )
    assert resize_position_embedding(embedding, (7, 3)).shape == (1, 5, 7, 3)
    with pytest.raises(ValueError, match='15 patches covers no square grid'):
        resize_position_embedding(torch.randn(1, 15, 5), (4, 4))


@pytest.mark.parametrize(
    ('change', 'part'),
    [
        (dict(embed_dims=24), 'embed_dims=24'),
        (dict(num_heads=(2, 2, 3, 4)), 'num_heads=(2, 2, 3, 4)'),
        (dict(depths=(2, 2, 6, 2)), 'depths=(2, 2, 6, 2)'),
        (dict(mlp_ratio=2), 'the shapes of single tensors do not'),
    ],
)
def test_other_structure_is_refused_with_both_sides_named(change, part):
    with pytest.raises(CheckpointError) as error:
        SwinTransformer(**TINY).load_state_dict(_swin(**change).state_dict(), strict=False)
    assert part in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('file_arch', 'arch'), [('small', 'tiny'), ('tiny', 'small'), ('base', 'tiny')])
def test_another_variant_is_named(file_arch, arch):
    from mmswin.backbones.swin import VARIANTS

    narrow = {name: dict(VARIANTS[name], mlp_ratio=0.1) for name in (file_arch, arch)}
    weights = SwinTransformer(**narrow[file_arch]).state_dict()
    model = SwinTransformer(**narrow[arch])
    letters = file_arch[0].upper(), arch[0].upper()
    with pytest.raises(CheckpointError) as error:
        model.load_state_dict(weights, strict=False)
    expected = f"the file is Swin-{letters[0]}, the config says Swin-{letters[1]}: set arch='{file_arch}'"
    assert expected in str(error.value)


@pytest.mark.parametrize(
    ('names', 'network'),
    [
        (['layer1.0.conv1.weight', 'bn1.weight'], 'a ResNet'),
        (['cls_token', 'pos_embed', 'blocks.0.attn.qkv.weight'], 'a ViT'),
        (['something'], "no Swin backbone of a known format (1 entries, the first is 'something')"),
    ],
)
def test_other_networks_are_named(names, network):
    with pytest.raises(CheckpointError) as error:
        SwinTransformer(**TINY).load_state_dict({name: torch.zeros(1) for name in names}, strict=False)
    assert network in str(error.value)


class Dangerous:
    ran = False

    def __reduce__(self):
        return setattr, (Dangerous, 'ran', True)


def _write(path, kind):
    if kind == 'directory':
        path.mkdir()
    elif kind in ('empty', 'html', 'text'):
        path.write_text({'empty': '', 'html': '<!DOCTYPE html><title>404</title>', 'text': 'weights'}[kind])
    elif kind == 'truncated':
        torch.save(_swin().state_dict(), path)
        path.write_bytes(path.read_bytes()[:-5000])
    elif kind == 'code':
        torch.save({'state_dict': Dangerous()}, path)
    elif kind == 'list':
        torch.save([1, 2], path)


@pytest.mark.parametrize(
    ('kind', 'part'),
    [
        ('missing', 'does not exist; give the path or URL'),
        ('directory', 'is a directory'),
        ('empty', 'is empty'),
        ('html', 'is a web page, not a checkpoint'),
        ('text', 'is not a PyTorch checkpoint, or is damaged (7 bytes): give a file that torch.save wrote'),
        ('truncated', 'is a damaged or truncated checkpoint of'),
        ('code', 'needs the type setattr, which is not among the safe ones'),
        ('list', 'holds a list, not a dictionary of weights'),
    ],
)
def test_unreadable_files_get_one_line(tmp_path, kind, part):
    path = tmp_path / 'file.pth'
    _write(path, kind)
    with pytest.raises(CheckpointError) as error:
        load_file(path)
    assert part in str(error.value)
    assert str(path) in str(error.value)
    assert '\n' not in str(error.value)
    assert not Dangerous.ran


def test_wrong_prefix_is_named(tmp_path):
    torch.save(_swin().state_dict(), tmp_path / 'swin.pth')
    with pytest.raises(CheckpointError, match="no entry below prefix='student.'; the first is 'patch_embed"):
        load_weights(SwinTransformer(**TINY), tmp_path / 'swin.pth', prefix='student')


def test_weights_that_are_not_finite_are_said(tmp_path):
    source = _swin()
    source.norm3.weight.data[5] = float('nan')
    torch.save(source.state_dict(), tmp_path / 'nan.pth')
    report = load_weights(_swin(), tmp_path / 'nan.pth')
    assert report.not_finite == ['norm3.weight']
    assert '1 HOLD NAN OR INFINITY (norm3.weight)' in report.summary()
    assert 'NAN OR INFINITY' in report.table()
    assert 'NAN' not in load_weights(_swin(), _saved(tmp_path, _swin())).summary()


def _saved(folder, model):
    torch.save(model.state_dict(), folder / 'finite.pth')
    return folder / 'finite.pth'


def test_a_classifiers_final_norm_is_loaded_where_its_stage_alone_is_returned():
    source = _swin()
    weights = _classifier(source)['model']
    weights['norm.weight'] += 1
    alone, all_stages = _swin(out_indices=(3,)), _swin()
    alone.load_state_dict(weights, strict=False)
    assert torch.equal(alone.norm3.weight, weights['norm.weight'])
    assert not any('norm.' in name for name in alone.load_report.unused)
    all_stages.load_state_dict(weights, strict=False)
    assert not torch.equal(all_stages.norm3.weight, weights['norm.weight'])
    assert 'norm.weight' in all_stages.load_report.unused


def test_a_whole_classifier_gets_the_layout_of_mmpretrain():
    weights = _classifier(_swin())['model']
    found = {f'model.{name}': value for name, value in weights.items()}
    translate_classifier(found, 'model.')
    assert torch.equal(found['model.head.fc.weight'], weights['head.weight'])
    assert torch.equal(found['model.backbone.norm.bias'], weights['norm.bias'])
    assert all(name.startswith(('model.backbone.', 'model.head.fc.')) for name in found)
    again = dict(found)
    translate_classifier(again, 'model.')
    assert again.keys() == found.keys()
    with pytest.raises(CheckpointError, match='ResNet'):
        translate_classifier({'layer1.0.conv1.weight': torch.zeros(1)})
