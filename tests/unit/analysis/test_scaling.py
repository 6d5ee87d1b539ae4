"""Windows cost as the number of pixels, global attention as its square: equations 1 and 2, counted and drawn."""

import cv2
import pytest
import torch
from mmengine.config import ConfigDict

from mmswin.analysis import scaling
from mmswin.analysis.counting import META, count
from mmswin.analysis.reports import sweep_text
from mmswin.analysis.scaling import GlobalAttention, Sweep, first_attention, fitted_exponent, map_sizes
from mmswin.backbones.swin import WindowAttention
from mmswin.errors import RunError
from mmswin.visualization.scaling import draw_sweep


def layer(dim: int = 8, heads: int = 2, window: tuple[int, int] = (2, 3)) -> WindowAttention:
    return WindowAttention(dim, heads, window, (0, 0), True, None, 0.0, 0.0, False, scaling.BACKEND).eval()


def test_global_attention_is_window_attention_with_one_window():
    torch.manual_seed(0)
    small = layer(window=(4, 6))
    x = torch.randn(2, 4, 6, 8)
    assert torch.allclose(GlobalAttention(small)(x), small(x), atol=1e-6)
    assert not torch.allclose(GlobalAttention(small)(x), layer(window=(2, 3))(x), atol=1e-3)


def test_both_have_the_same_parameters():
    like = layer()
    assert {id(p) for p in GlobalAttention(like).parameters()} == {id(p) for p in like.parameters()}


def test_counts_are_the_equations():
    found = Sweep(8, (2, 3), (4, 4), [24], {})
    with META:
        like = layer()
        x = torch.empty(1, 4, 6, 8)
    assert count(like, x)[1].computed == found.formula('windows', 24) == 4 * 24 * 64 + 2 * 6 * 24 * 8
    assert count(GlobalAttention(like), x)[1].computed == found.formula('global', 24) == 4 * 24 * 64 + 2 * 24 * 24 * 8


def test_sizes_are_whole_windows_within_the_limit():
    for window in ((7, 7), (12, 12), (4, 9)):
        sizes = map_sizes(window, 16384, 8)
        assert len(sizes) >= 6
        assert sizes == sorted(set(sizes))
        assert all(rows % window[0] == columns % window[1] == 0 for rows, columns in sizes)
        assert 4000 < max(rows * columns for rows, columns in sizes) <= 16384
    assert map_sizes((100, 100), 100) == [(200, 200)]


def test_fit():
    assert fitted_exponent([1, 10, 100], [2, 200, 20000]) == pytest.approx(2)


def test_sweep_counts_times_and_draws(tmp_path, monkeypatch):
    monkeypatch.setattr(scaling, 'ROUNDS', 1)
    monkeypatch.setattr(scaling, 'SHORTEST', 0)
    lines = []
    found = scaling.sweep(layer(), (4, 4), 1600, progress=lines.append)
    assert len(lines) == len(found.tokens) == len(found.seconds['windows']) == len(found.seconds['global']) == 8
    assert found.exponent(found.counted['windows']) == pytest.approx(1)
    assert 1.9 < found.exponent(found.counted['global']) < 2
    assert all(second > 0 for seconds in found.seconds.values() for second in seconds)
    text = sweep_text(found, (800, 1280))
    assert 'pixels^1.00' in text and '65.6 G' in text
    draw_sweep(found, (800, 1280), tmp_path / 'sweep.png')
    picture = cv2.imread(str(tmp_path / 'sweep.png'))
    assert picture.shape[0] > 400 and picture.shape[1] > 900
    for blue, green, red in ((180, 119, 31), (40, 39, 214)):  # windows, global
        near = (abs(picture.astype(int) - (blue, green, red)).max(-1) < 30).sum()
        assert near > 500


def test_sizes_beyond_the_budget_are_counted_and_not_timed(monkeypatch):
    monkeypatch.setattr(scaling, 'ROUNDS', 1)
    monkeypatch.setattr(scaling, 'SHORTEST', 0)
    found = scaling.sweep(layer(), (4, 4), 1600, budget=0)
    assert len(found.seconds['global']) == 3 < len(found.tokens) == len(found.counted['global'])


def test_only_this_package_s_swin_has_windows():
    resnet = dict(type='mmdet.ResNet', depth=18)
    cfg = ConfigDict(
        default_scope='mmdet',
        model=dict(
            type='RetinaNet',
            backbone=resnet,
            neck=dict(type='FPN', in_channels=[64, 128], out_channels=8, num_outs=2),
            bbox_head=dict(type='RetinaHead', num_classes=2, in_channels=8, feat_channels=8),
        ),
    )
    with pytest.raises(RunError, match='backbone of this config is a ResNet'):
        first_attention(cfg)


def test_the_layer_is_the_config_s():
    cfg = ConfigDict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder',
            backbone=dict(
                type='mmswin.SwinTransformer',
                embed_dims=12,
                depths=(1,) * 4,
                num_heads=(3, 3, 3, 3),
                window_size=(3, 5),
                patch_size=2,
                strides=(2, 2, 2, 2),
            ),
            decode_head=dict(type='FCNHead', in_channels=96, channels=4, num_classes=2),
        ),
    )
    like, patch = first_attention(cfg)
    assert (like.qkv.in_features, like.num_heads, like.window, patch) == (12, 3, (3, 5), (2, 2))
    assert like(torch.zeros(1, 3, 5, 12)).shape == (1, 3, 5, 12)
