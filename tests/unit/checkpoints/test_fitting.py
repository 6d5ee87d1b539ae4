"""Weights for another window, number of input channels or depth: fitted by a rule that the report names, or refused."""

import logging

import pytest
import torch

from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import CheckpointError, loading
from mmswin.checkpoints.resize import resize_channels, table_window
from mmswin.ops.windows import relative_position_bias, relative_position_index

TINY = dict(embed_dims=8, depths=(1, 1, 2, 1), num_heads=(1, 2, 2, 4), window_size=4)


def _swin(**changes):
    torch.manual_seed(0)
    model = SwinTransformer(**{**TINY, **changes})
    model.init_weights()
    return model.eval()


def _bias(attn):
    return relative_position_bias(attn.relative_position_bias_table, attn.window)


def _loaded(weights, **changes):
    model = _swin(**changes)
    model.load_state_dict(weights, strict=False)
    return model


@pytest.mark.parametrize(('channels', 'extra'), [(4, 1), (6, 3)])
def test_a_further_channel_that_shows_nothing_changes_nothing(channels, extra):
    source = _swin()
    model = _loaded(source.state_dict(), in_channels=channels)
    image = torch.randn(1, 3, 40, 56)
    padded = torch.cat([image, torch.zeros(1, extra, 40, 56)], dim=1)
    for ours, rgb in zip(model(padded), source(image)):
        torch.testing.assert_close(ours, rgb, rtol=0, atol=0)
    # With zeros for filters it is the same whatever the further channel shows.
    noisy = torch.cat([image, torch.randn(1, extra, 40, 56)], dim=1)
    for ours, rgb in zip(model(noisy), source(image)):
        torch.testing.assert_close(ours, rgb, rtol=0, atol=0)
    assert model.load_report.resized == ['patch_embed.proj.weight']
    assert model.load_report.changes == [f'input channels 3 to {channels} (zeros)']


def test_a_zero_channel_gives_the_rgb_output_with_the_mean_too():
    source = _swin()
    image = torch.randn(1, 3, 40, 56)
    model = _loaded(source.state_dict(), in_channels=4, in_channels_policy='mean')
    for ours, rgb in zip(model(torch.cat([image, torch.zeros(1, 1, 40, 56)], dim=1)), source(image)):
        torch.testing.assert_close(ours, rgb, rtol=0, atol=1e-5)
    assert model.patch_embed.proj.weight[:, 3].abs().max() > 0


def test_one_channel_sees_a_grey_image_as_three_did():
    source = _swin()
    model = _loaded(source.state_dict(), in_channels=1)
    grey = torch.randn(1, 1, 40, 56)
    for ours, rgb in zip(model(grey), source(grey.expand(-1, 3, -1, -1))):
        torch.testing.assert_close(ours, rgb, rtol=1e-4, atol=1e-5)


def test_channel_policies():
    weight = torch.arange(6.0).reshape(2, 3, 1, 1)
    repeated = resize_channels(weight, 6, 'repeat')
    torch.testing.assert_close(repeated, torch.cat([weight, weight], dim=1) / 2)
    torch.testing.assert_close(resize_channels(weight[:, :1], 3, 'zeros').sum(dim=1), weight[:, 0])
    torch.testing.assert_close(
        resize_channels(weight.to(torch.int8), 4, 'mean')[:, 3].flatten(), torch.tensor([1.0, 4.0])
    )
    with pytest.raises(ValueError, match='images of 3 channels, and which of them the 2 are is not known'):
        resize_channels(weight, 2, 'zeros')
    with pytest.raises(ValueError, match="in_channels_policy='guess' is unknown; choose one of 'zeros', 'mean'"):
        SwinTransformer(**TINY, in_channels=4, in_channels_policy='guess')


def test_fewer_channels_are_refused_with_the_reason():
    with pytest.raises(CheckpointError, match=r'proj.weight cannot be fitted: it takes images of 5 channels'):
        _loaded(_swin(in_channels=5).state_dict(), in_channels=3)


@pytest.mark.parametrize('window', [(3, 5), (5, 3), (7, 7), (1, 4), (12, 6)])
def test_the_window_is_told_by_the_index(window):
    rows = (2 * window[0] - 1) * (2 * window[1] - 1)
    index = relative_position_index(window, torch.zeros(1))
    assert table_window(rows, index) == window
    assert table_window(rows, index.flatten()) == window


@pytest.mark.parametrize(('old', 'new'), [(7, 12), (12, 7), (12, 24), (7, (8, 6)), ((4, 6), (6, 4))])
def test_windows_change(old, new):
    source = _swin(window_size=old)
    weights = source.state_dict()
    if isinstance(old, tuple):
        index = relative_position_index(old, torch.zeros(1))
        weights |= {n.replace('bias_table', 'index'): index for n in weights if n.endswith('bias_table')}
    model = _loaded(weights, window_size=new)
    report = model.load_report
    assert report.loaded == report.total
    assert len(report.resized) == sum(TINY['depths'])
    sides = ['x'.join(map(str, w if isinstance(w, tuple) else (w, w))) for w in (old, new)]
    assert report.changes == [f'window {sides[0]} to {sides[1]}']
    # The bias of a token towards itself, in the middle of the table, stays nearly what it was.
    for a, b in zip(source.layers, model.layers):
        before, after = (_bias(layer.blocks[0].attn)[:, 0, 0] for layer in (a, b))
        torch.testing.assert_close(after, before, rtol=0, atol=0.02)


def test_a_rectangular_window_that_cannot_be_told_is_refused():
    with pytest.raises(CheckpointError, match='its window is no square, and a table of 77 rows does not tell'):
        _loaded(_swin(window_size=(4, 6)).state_dict(), window_size=4)
    _loaded(_swin(window_size=(4, 6)).state_dict(), window_size=(4, 6))


def test_position_embeddings_of_another_image_size():
    source = _swin(use_abs_pos_embed=True, pretrain_img_size=32)
    weights = source.state_dict()
    weights['absolute_pos_embed'] = weights['absolute_pos_embed'].flatten(2).transpose(1, 2)
    same = _loaded(weights, use_abs_pos_embed=True, pretrain_img_size=32)
    torch.testing.assert_close(same.absolute_pos_embed, source.absolute_pos_embed, rtol=0, atol=0)
    assert same.load_report.resized == []
    other = _loaded(weights, use_abs_pos_embed=True, pretrain_img_size=(48, 64))
    assert other.load_report.changes == ['position embedding of 64 patches to 12x16']
    # As many patches, otherwise arranged.
    turned = _loaded(weights, use_abs_pos_embed=True, pretrain_img_size=(16, 64))
    assert turned.load_report.changes == ['position embedding of 64 patches to 4x16']
    weights['absolute_pos_embed'] = weights['absolute_pos_embed'][:, :60]
    with pytest.raises(CheckpointError, match='a position embedding of 60 patches covers no square grid'):
        _loaded(weights, use_abs_pos_embed=True, pretrain_img_size=32)


def test_new_blocks_are_named_and_asked_for():
    weights = _swin().state_dict()
    deeper = dict(depths=(1, 1, 4, 1))
    with pytest.raises(CheckpointError, match=r'depths=\(1, 1, 2, 1\).*depths=\(1, 1, 4, 1\).*allow_other_depths=True'):
        _loaded(weights, **deeper)
    model = _loaded(weights, **deeper, allow_other_depths=True)
    report = model.load_report
    assert report.new_blocks == ['layers.2.blocks.2', 'layers.2.blocks.3']
    assert report.loaded == report.total
    assert '2 blocks are new and random (layers.2.blocks.2, layers.2.blocks.3)' in report.summary()
    assert '2 blocks are new and random (layers.2.blocks.2, layers.2.blocks.3)' in report.table()
    torch.testing.assert_close(model.layers[2].blocks[1].mlp.fc1.weight, weights['layers.2.blocks.1.mlp.fc1.weight'])


def test_surplus_blocks_are_left_out_when_asked_for():
    model = _loaded(_swin(depths=(1, 1, 4, 1)).state_dict(), allow_other_depths=True)
    assert model.load_report.unexpected == []
    assert {name[:17] for name in model.load_report.unused} == {'layers.2.blocks.2', 'layers.2.blocks.3'}


def test_a_few_new_blocks_load_with_a_warning(tmp_path, monkeypatch):
    levels = []
    monkeypatch.setattr(loading, 'log', lambda text, level=logging.INFO: levels.append(level))
    weights = _swin(depths=(2, 2, 6, 2)).state_dict()
    torch.save(weights, tmp_path / 'a.pth')
    model = _swin(depths=(2, 2, 7, 2), init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
    assert model.load_report.new_blocks == ['layers.2.blocks.6'] and logging.WARNING in levels


@pytest.mark.parametrize(
    'changes', [dict(num_heads=(1, 2, 4, 4)), dict(num_heads=(1, 2, 4, 4), use_rel_pos_bias=False), dict(embed_dims=16)]
)
def test_other_heads_or_widths_are_refused_even_when_depths_may_differ(changes):
    weights = _swin().state_dict()
    with pytest.raises(CheckpointError, match=r'the file has embed_dims=8, depths=\(1, 1, 2, 1\), num_heads=\(1, 2, 2'):
        _loaded(weights, **changes, allow_other_depths=True)


@pytest.mark.parametrize(('change', 'argument'), [(dict(mlp_ratio=2), 'mlp_ratio'), (dict(patch_size=2), 'patch_size')])
def test_the_argument_that_differs_is_named(change, argument):
    weights = _swin().state_dict()
    if 'patch_size' in change:
        change = {**change, 'strides': (2, 2, 2, 2)}
    with pytest.raises(CheckpointError, match=f'shapes of single tensors do not: look at {argument}'):
        _loaded(weights, **change)
