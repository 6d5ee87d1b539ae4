"""Swin V2 by itself: attention as the paper's equations have it, any size, windows of the weights, memory."""

import math

import pytest
import torch
import torch.nn.functional as F
from kept_bytes import saved_by
from mmengine.registry import MODELS
from models import LEAN, nets

from mmswin.analysis.counting import META, count
from mmswin.backbones import SwinTransformer, SwinTransformerV2
from mmswin.backbones.swin_v2 import PatchMergingV2, SwinBlockV2, WindowAttentionV2
from mmswin.ops.windows import log_spaced_offsets

TINY = dict(embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 2, 3, 4), window_size=4, drop_path_rate=0.0)


def _net(**changes):
    torch.manual_seed(0)
    net = SwinTransformerV2(**{**TINY, **changes})
    net.init_weights()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net.eval()


@pytest.mark.parametrize('size', [(1, 1), (5, 9), (33, 47), (61, 130)])
def test_any_size_gives_ceil_divided_maps(size):
    for i, out in enumerate(_net()(torch.randn(2, 3, *size))):
        assert out.shape == (2, 12 * 2**i, *(-(-side // (4 * 2**i)) for side in size))
        assert out.isfinite().all()


@pytest.mark.parametrize(('arch', 'millions'), [('tiny', 28.35), ('small', 49.73), ('base', 87.92), ('large', 196.74)])
def test_variants_have_the_published_size(arch, millions):
    """Of the authors' classifiers, whose head and one norm take the place of four norms."""
    with torch.device('meta'):
        net = SwinTransformerV2(arch=arch)
    norms = sum(2 * width for width in net.num_features[:3])
    found = sum(p.numel() for p in net.parameters()) - norms + 1000 * (net.num_features[-1] + 1)
    assert round(found / 1e6, 2) == millions


@pytest.mark.parametrize(('arch', 'window', 'published'), [('tiny', 8, 5.9), ('tiny', 16, 6.6), ('base', 16, 21.8)])
def test_multiply_adds_are_the_published_ones(arch, window, published):
    """At 256 x 256, where the last map has 8 x 8 places."""
    with META:
        net = SwinTransformerV2(arch=arch, window_size=[window, window, window, 8], out_indices=(3,)).eval()
        _, counted = count(net, torch.empty(1, 3, 256, 256))
    assert counted.computed / 1e9 == pytest.approx(published, rel=0.015)


@torch.no_grad()
def test_attention_is_that_of_the_equations():
    """One window, token by token: equations 2 to 4, a factor above its bound in the second head."""
    torch.manual_seed(0)
    window, known, heads, dim = (3, 5), (6, 9), 2, 8
    attn = WindowAttentionV2(dim, heads, window, (0, 0), qkv_bias=True, qk_scale=None, attn_drop=0.0, proj_drop=0.0,
                             relative_bias=True, backend='reference').double()  # fmt: skip
    attn.pretrained_window = known
    for parameter in attn.parameters():
        parameter.normal_()
    attn.logit_scale.copy_(torch.tensor([[[1.3]], [[7.0]]]))
    x = torch.randn(*window, dim, dtype=torch.float64)
    tokens = x.reshape(-1, dim)
    q, k, v = (tokens @ attn.qkv.weight.T).chunk(3, dim=-1)
    q, v = q + attn.q_bias, v + attn.v_bias
    hidden_layer, last_layer = attn.cpb_mlp.children()
    places = [(row, column) for row in range(window[0]) for column in range(window[1])]

    def spaced(offset, side):
        offset = 8 * offset / (side - 1)
        return math.copysign(math.log2(1 + abs(offset)) / 3, offset)

    out = torch.zeros_like(tokens)
    for head in range(heads):
        part = slice(head * dim // heads, (head + 1) * dim // heads)
        factor = min(math.exp(attn.logit_scale[head]), 100)
        for i, (row, column) in enumerate(places):
            scores = []
            for j, (other_row, other_column) in enumerate(places):
                offset = torch.tensor([spaced(row - other_row, known[0]), spaced(column - other_column, known[1])])
                hidden = F.relu(hidden_layer.weight @ offset.double() + hidden_layer.bias)
                bias = 16 * torch.sigmoid(last_layer.weight[head] @ hidden)
                cosine = F.cosine_similarity(q[i, part], k[j, part], dim=0)
                scores.append(factor * cosine + bias)
            out[i, part] = torch.stack(scores).softmax(0) @ v[:, part]
    expected = (out @ attn.proj.weight.T + attn.proj.bias).view(1, *window, dim)
    torch.testing.assert_close(attn(x[None]), expected, rtol=0, atol=1e-5)  # offsets are float32


def test_norms_stand_behind():
    torch.manual_seed(0)
    net = _net()
    block, merging = net.layers[0].blocks[1], net.layers[0].downsample
    assert (type(block), type(merging)) == (SwinBlockV2, PatchMergingV2)
    x = torch.randn(1, 8, 8, 12)
    middle = x + block.norm1(block.attn(x))
    torch.testing.assert_close(block(x), middle + block.norm2(block.mlp(middle)))
    assert merging.norm.normalized_shape == (24,)
    grouped = torch.cat([x[:, r::2, c::2] for c in (0, 1) for r in (0, 1)], dim=-1)
    torch.testing.assert_close(merging(x), merging.norm(grouped @ merging.reduction.weight.T))


def test_branches_start_at_nothing():
    net = SwinTransformerV2(**TINY)
    net.init_weights()
    block = net.layers[1].blocks[1]
    x = torch.randn(1, 8, 8, 24)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)
    torch.testing.assert_close(block.attn.logit_scale.exp(), torch.full((2, 1, 1), 10.0))
    assert net.norm1.weight.eq(1).all() and net.layers[0].downsample.norm.weight.eq(1).all()


@pytest.mark.parametrize(
    'options', [{}, dict(qkv_bias=False), dict(window_size=[(4, 3), 7, 2], patch_norm=False)], ids=str
)
@pytest.mark.parametrize('size', [(2, 3, 61, 75), (3, 3, 20, 30)])
def test_values_and_gradients_equal_the_modules(size, options):
    x = torch.randn(size, dtype=torch.float64)
    plain, lean = nets(network=SwinTransformerV2, drop_path_rate=0.0, **options)
    found = []
    for net in (plain, lean):
        outs = net(x)
        sum(out.square().sum() for out in outs).backward()
        found.append([*outs, *(parameter.grad for parameter in net.parameters())])
    for mine, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)
    with torch.inference_mode():
        for mine, expected in zip(lean(x), plain(x), strict=True):
            torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('backend', ['sdpa', 'triton'])
def test_backends_equal_the_reference(backend):
    if backend == 'triton':
        pytest.importorskip('triton', reason='Triton has wheels for Linux alone')
    x, found = torch.randn(1, 3, 20, 24, dtype=torch.float64), []
    for name in ('reference', backend):
        torch.manual_seed(0)
        net = SwinTransformerV2(embed_dims=32, depths=(1, 2), num_heads=(1, 2), strides=(4, 2), out_indices=(0, 1),
                                window_size=3, drop_path_rate=0.0, attn_backend=name)  # fmt: skip
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        net.double()
        outs = net(x)
        sum(out.square().sum() for out in outs).backward()
        found.append([*outs, *(parameter.grad for parameter in net.parameters())])
    for mine, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
def test_a_training_step_keeps_little_more_than_half(precision):
    kept = []
    for with_cp in (False, 'selective'):
        net = SwinTransformerV2(embed_dims=48, depths=(2, 2, 2, 2), window_size=8, drop_path_rate=0.0, with_cp=with_cp)
        with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bfloat16'):
            kept.append(saved_by(lambda net=net: net(torch.randn(1, 3, 112, 224)), net.parameters()))
    print(f'{precision}: {kept[1] / kept[0]:.3f}')
    assert kept[1] <= 0.55 * kept[0]


def test_mixed_precision_trains():
    net = nets(torch.float32, (LEAN,), SwinTransformerV2)[0].train()
    with torch.autocast('cpu', torch.bfloat16):
        outs = net(torch.randn(2, 3, 45, 50))
    sum(out.float().square().mean() for out in outs).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    for dtype in (torch.bfloat16, torch.float16):
        outs = _net(qkv_bias=True).to(dtype)(torch.randn(1, 3, 40, 40, dtype=dtype))
        assert all(out.dtype == dtype and out.isfinite().all() for out in outs)


def test_windows_of_the_weights_scale_the_offsets():
    """A network for windows of 8 whose offsets are measured in windows of 4 sees within 4 tokens what one of 4 sees."""
    four, eight = (
        log_spaced_offsets((side, side), (4, 4), torch.zeros(())).view(2 * side - 1, -1, 2) for side in (4, 8)
    )
    torch.testing.assert_close(eight[4:-4, 4:-4], four)
    assert four.abs().max() == pytest.approx(math.log2(9) / 3)
    net = _net(window_size=[8, 8, (4, 6), 2], pretrained_window_sizes=[4, 4, 4, (2, 3)])
    assert [layer.blocks[1].attn.window for layer in net.layers] == [(8, 8), (8, 8), (4, 6), (2, 2)]
    assert [layer.blocks[1].attn.shift for layer in net.layers] == [(4, 4), (4, 4), (2, 3), (1, 1)]
    assert [layer.blocks[1].attn.pretrained_window for layer in net.layers] == [(4, 4), (4, 4), (4, 4), (2, 3)]


@pytest.mark.parametrize(
    ('change', 'part'),
    [
        (dict(window_size=(4, 4, 4)), 'window_size=(4, 4, 4)'),
        (dict(window_size=(4, 4, 4, 0)), 'window_size[3]=0'),
        (dict(pretrained_window_sizes='8'), "pretrained_window_sizes='8'"),
        (dict(use_rel_pos_bias=False), 'use_rel_pos_bias'),
        (dict(qk_scale=1.0), 'qk_scale'),
        (dict(arch='huge'), "arch='huge'"),
    ],
)
def test_bad_arguments_are_named(change, part):
    with pytest.raises(ValueError) as error:
        SwinTransformerV2(**{**TINY, **change})
    assert part in str(error.value)


def test_the_first_swin_takes_a_window_for_each_stage():
    net = SwinTransformer(**{**TINY, 'window_size': [4, 4, 4, 2]}).eval()
    tables = [layer.blocks[0].attn.relative_position_bias_table.shape[0] for layer in net.layers]
    assert tables == [49, 49, 49, 9]
    assert net(torch.randn(1, 3, 40, 52))[3].shape == (1, 96, 2, 2)


def test_registry_and_names():
    net = MODELS.build(dict(type='mmswin.SwinTransformerV2', **TINY, use_abs_pos_embed=True))
    names = set(net.state_dict())
    block = 'layers.2.blocks.1.attn.'
    anchors = (
        'logit_scale',
        'cpb_mlp.0.weight',
        'cpb_mlp.0.bias',
        'cpb_mlp.2.weight',
        'q_bias',
        'v_bias',
        'qkv.weight',
    )
    assert {block + name for name in anchors} <= names
    assert not any(part in name for name in names for part in ('index', 'coords', 'bias_table', 'qkv.bias'))
