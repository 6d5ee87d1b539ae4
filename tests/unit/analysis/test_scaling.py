"""Windows cost as the number of pixels, global attention as its square: equations 1 and 2, counted and measured."""

import pytest
import torch
from mmengine.config import ConfigDict

from mmswin.analysis import scaling
from mmswin.analysis.counting import META, count
from mmswin.analysis.reports import sweep_text
from mmswin.analysis.scaling import Sweep, first_attention, map_sizes, over_map
from mmswin.backbones.swin import WindowAttention
from mmswin.errors import RunError


def layer(dim: int = 8, heads: int = 2, window: tuple[int, int] = (2, 3)) -> WindowAttention:
    return WindowAttention(dim, heads, window, (0, 0), True, None, 0.0, 0.0, False, 'reference')


def test_both_have_the_same_parameters_and_one_attends_over_the_whole_map():
    torch.manual_seed(0)
    like, x = layer(), torch.randn(2, 4, 6, 8)
    windows, whole = (over_map(like, kind, (4, 6)) for kind in ('windows', 'global'))
    whole.load_state_dict(windows.state_dict())
    moved = x.clone()
    moved[:, 3, 5] += 1  # in another window than the first token, which is all the same on the whole map
    assert torch.equal(windows(x)[:, 0, 0], windows(moved)[:, 0, 0])
    assert not torch.allclose(whole(x)[:, 0, 0], whole(moved)[:, 0, 0])
    query, key, value = whole.qkv(x).reshape(2, 24, 3, 2, 4).permute(2, 0, 3, 1, 4)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(whole(x), whole.proj(expected.transpose(1, 2).reshape(2, 4, 6, 8)), atol=1e-6)


def test_counts_are_the_equations():
    found = Sweep(8, (2, 3), (4, 4), [24])
    with META:
        x = torch.empty(1, 4, 6, 8)
        windows, whole = (count(over_map(layer(), kind, (4, 6)), x)[1].computed for kind in ('windows', 'global'))
    assert windows == found.formula('windows', 24) == 4 * 24 * 64 + 2 * 6 * 24 * 8
    assert whole == found.formula('global', 24) == 4 * 24 * 64 + 2 * 24 * 24 * 8


def test_sizes_are_whole_windows_within_the_limit():
    for window in ((7, 7), (12, 12), (4, 9)):
        sizes = map_sizes(window, 16384, 8)
        assert len(sizes) >= 6
        assert sizes == sorted(set(sizes))
        assert all(rows % window[0] == columns % window[1] == 0 for rows, columns in sizes)
        assert 4000 < max(rows * columns for rows, columns in sizes) <= 16384
    assert map_sizes((100, 100), 100) == [(200, 200)]


def test_fit():
    found = Sweep(8, (2, 3), (4, 4), [1, 2, 3, 10, 100, 1000])
    assert found.exponent([7, 7, 7, 2, 200, 20000]) == pytest.approx(2)


@pytest.mark.parametrize('timed', [False, True])
def test_windows_cost_as_the_pixels_and_the_whole_map_as_their_square(timed, monkeypatch):
    monkeypatch.setattr(scaling, 'ROUNDS', 1)
    found = scaling.sweep(layer(), (4, 4), 1600, timed)
    assert found.exponent(found.counted['windows']) == pytest.approx(1)
    assert 1.9 < found.exponent(found.counted['global']) < 2
    assert all(len(seconds) == 8 * timed for seconds in found.seconds.values())
    lines = sweep_text(found, (800, 1280)).splitlines()
    assert len(lines) == 1 + 8 + 1 + 2
    assert lines[9].split()[3] == '1.00' and len(lines[9].split()) == (7 if timed else 5)
    assert '65.6 G' in lines[-1]


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
    assert over_map(like, 'windows', (3, 5))(torch.zeros(1, 3, 5, 12)).shape == (1, 3, 5, 12)
