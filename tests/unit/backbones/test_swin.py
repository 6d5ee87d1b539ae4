"""The backbone by itself: shapes at any size, arguments, switches, precisions, freezing, stochastic depth."""

import copy

import pytest
import torch
from mmengine.registry import MODELS

from mmswin.backbones import SwinTransformer
from mmswin.backbones.base import drop_path, fit_position_embedding
from mmswin.backbones.swin import VARIANTS, PatchMerging
from mmswin.ops import windows
from mmswin.ops.caches import clear_caches

PARAMETERS = {'tiny': 29, 'small': 50, 'base': 88, 'large': 197}  # millions, of the paper's classifiers


@pytest.mark.parametrize('size', [(1, 1), (1, 70), (5, 9), (33, 47), (64, 64), (61, 130)])
def test_any_size_gives_ceil_divided_maps(tiny_swin, size):
    outs = tiny_swin().eval()(torch.randn(2, 3, *size))
    for i, out in enumerate(outs):
        height, width = (-(-side // (4 * 2**i)) for side in size)
        assert out.shape == (2, 12 * 2**i, height, width)
        assert out.is_contiguous()
        assert out.isfinite().all()


@pytest.mark.parametrize('arch', sorted(VARIANTS))
def test_variants_have_the_papers_size(arch):
    with torch.device('meta'):
        model = SwinTransformer(arch=arch)
    head = 1000 * (model.num_features[-1] + 1)
    millions = (sum(p.numel() for p in model.parameters()) + head) / 1e6
    assert abs(millions - PARAMETERS[arch]) < 1
    short = SwinTransformer(arch=arch[0], out_indices=(0,))
    assert short.num_features == model.num_features
    assert short.depths == VARIANTS[arch]['depths']


def test_arch_yields_to_explicit_arguments():
    model = SwinTransformer(arch='base', depths=(1, 1, 1, 1), out_indices=(0,))
    assert model.depths == (1, 1, 1, 1)
    assert model.num_features[0] == 128


def test_state_dict_has_the_authors_names(tiny_swin):
    names = set(tiny_swin(use_abs_pos_embed=True).state_dict())
    anchors = {
        'absolute_pos_embed',
        'patch_embed.proj.weight',
        'patch_embed.norm.bias',
        'layers.0.blocks.1.attn.relative_position_bias_table',
        'layers.0.blocks.0.attn.qkv.weight',
        'layers.2.blocks.1.attn.proj.bias',
        'layers.3.blocks.0.mlp.fc1.weight',
        'layers.3.blocks.0.mlp.fc2.bias',
        'layers.1.blocks.0.norm2.weight',
        'layers.2.downsample.reduction.weight',
        'layers.2.downsample.norm.weight',
        'norm0.weight',
        'norm3.bias',
    }
    assert anchors <= names
    assert not any('index' in name or 'mask' in name for name in names)


def test_registry_builds_it_by_scope_from_either_library():
    for library in ('mmdet', 'mmseg'):
        __import__(f'{library}.registry')
        registry = __import__(f'{library}.registry', fromlist=['MODELS']).MODELS
        model = registry.build(dict(type='mmswin.SwinTransformer', depths=(1, 1, 1, 1)))
        assert type(model) is SwinTransformer
        assert registry.get('SwinTransformer') is not SwinTransformer
    assert MODELS.get('mmswin.SwinTransformer') is SwinTransformer


@pytest.mark.parametrize(
    ('change', 'part'),
    [
        (dict(arch='huge'), "arch='huge' is unknown; choose one of 'tiny', 'small', 'base', 'large'"),
        (dict(arch=dict(embed_dims=96)), "arch={'embed_dims': 96} is unknown"),
        (dict(window_size=0), 'window_size=0 must be a positive integer or a pair'),
        (dict(window_size=(7, 7, 7)), 'window_size=(7, 7, 7)'),
        (dict(window_size=3.5), 'window_size=3.5'),
        (dict(depths=(2, 2)), 'num_heads=(1, 2, 3, 4) has 4 stages, depths=(2, 2) has 2'),
        (dict(depths=(2, 0, 2, 2)), 'depths=(2, 0, 2, 2)'),
        (dict(num_heads=(1, 2, 5, 4)), 'num_heads[2]=5 does not divide the width of stage 2, 48'),
        (dict(embed_dims=-3), 'embed_dims=-3'),
        (dict(strides=(4, 2)), 'strides=(4, 2) must have 4 entries'),
        (dict(strides=(2, 2, 2, 2)), 'strides[0]=2 must equal patch_size=4'),
        (dict(out_indices=(4,)), 'out_indices=(4,): with 4 stages an index lies between -4 and 3'),
        (dict(out_indices=(1, -3)), 'names a stage twice'),
        (dict(out_indices=()), 'non-empty'),
        (dict(frozen_stages=5), 'frozen_stages=5 must be an integer between -1'),
        (dict(drop_path_rate=1.5), 'drop_path_rate=1.5 must be a probability'),
        (dict(mlp_ratio=0), 'mlp_ratio=0'),
        (dict(mlp_ratio=float('nan')), 'mlp_ratio=nan'),
        (dict(mlp_ratio=float('inf')), 'mlp_ratio=inf'),
        (dict(pretrain_img_size=2), 'pretrain_img_size=2'),
        (dict(in_channels=0), 'in_channels=0'),
        (dict(norm_cfg='BN'), "norm_cfg='BN' must be a dict"),
        (dict(act_cfg={'inplace': True}), "act_cfg={'inplace': True} must be a dict"),
        (dict(attn_backend='fastest'), "attention backend 'fastest' is unknown; choose one of 'auto', 'refer"),
        (dict(with_cp=[True, False]), "with_cp=[True, False] must be True, False, 'selective'"),
        (dict(with_cp='True'), "with_cp='True' must be True, False, 'selective'"),
        (dict(pretrained='a.pth', init_cfg=dict(type='Pretrained', checkpoint='b.pth')), 'not both'),
    ],
)
def test_bad_arguments_are_named(tiny_args, change, part):
    with pytest.raises(ValueError) as error:
        SwinTransformer(**{**tiny_args, **change})
    assert part in str(error.value)


@pytest.mark.parametrize('out_indices', [(0,), (3, 0), (-1,), (2, -4), (1, 2, 3), [0, 1, 2, 3]])
def test_out_indices_in_any_order(tiny_swin, out_indices):
    x = torch.randn(1, 3, 40, 52)
    full = tiny_swin().eval()
    model = tiny_swin(out_indices=out_indices).eval()
    model.load_state_dict(full.state_dict())
    outs, reference = model(x), full(x)
    assert len(outs) == len(out_indices)
    for out, i in zip(outs, out_indices):
        torch.testing.assert_close(out, reference[i], rtol=0, atol=0)


@pytest.mark.parametrize('stride', [1, 2, 3, 4])
@pytest.mark.parametrize('side', [1, 2, 5, 8, 9])
def test_merging_at_every_stride_is_unfold(stride, side):
    from mmdet.models.layers import PatchMerging as Peer

    from mmswin.checkpoints.convert import channel_major_to_blocks

    peer = Peer(6, 12, stride=stride)
    ours = PatchMerging(6, stride, dict(type='LN'))
    ours.reduction.weight.data = channel_major_to_blocks(peer.reduction.weight.data)
    x = torch.randn(2, side, side + 3, 6)
    expected, (height, width) = peer(x.flatten(1, 2), (side, side + 3))
    torch.testing.assert_close(ours(x), expected.reshape(2, height, width, 12))


@pytest.mark.parametrize('window', [(4, 4), (3, 5), (7, 2), (1, 6)])
def test_rectangular_windows(tiny_swin, window):
    model = tiny_swin(window_size=window)
    outs = model(torch.randn(1, 3, 45, 70))
    sum(out.square().mean() for out in outs).backward()
    table = model.layers[0].blocks[1].attn.relative_position_bias_table
    assert table.shape[0] == (2 * window[0] - 1) * (2 * window[1] - 1)
    assert table.grad.abs().sum() > 0


def test_switches_change_what_they_name(tiny_swin):
    x = torch.randn(1, 3, 64, 64)
    full = tiny_swin().eval()
    plain = tiny_swin(shift_windows=False).eval()
    plain.load_state_dict(full.state_dict())
    assert (plain(x)[0] - full(x)[0]).abs().max() > 1e-3
    assert all(block.attn.shift == (0, 0) for layer in plain.layers for block in layer.blocks)

    bare = tiny_swin(use_rel_pos_bias=False)
    assert not any('relative_position' in name for name in bare.state_dict())
    zeroed = tiny_swin().eval()
    zeroed.load_state_dict(bare.state_dict(), strict=False)
    for layer in zeroed.layers:
        for block in layer.blocks:
            block.attn.relative_position_bias_table.data.zero_()
    torch.testing.assert_close(bare.eval()(x), zeroed(x))


def test_without_shift_windows_do_not_see_each_other(tiny_swin):
    model = tiny_swin(shift_windows=False, out_indices=(0,)).eval()
    x = torch.randn(1, 3, 32, 32)
    changed = x.clone()
    changed[..., 16:] += 1  # the right window column; windows of 4 tokens are 16 pixels wide
    difference = (model(x)[0] - model(changed)[0]).abs().amax(dim=(0, 1, 2))
    assert difference[:4].max() == 0
    assert difference[4:].min() > 0


@pytest.mark.parametrize('ways', [dict(attn_backend='reference', with_cp=False), {}])
@pytest.mark.parametrize('training', [False, True])
def test_classifiers_do_not_shift_on_maps_of_one_window(tiny_swin, ways, training):
    """Of 32 pixels, stage 1 has 8 x 8 tokens and stage 2 4 x 4, which is the window; with gradients and without."""
    shape = dict(depths=(2, 2, 1, 1), out_indices=(0, 1), drop_path_rate=0.0, **ways)
    models = [tiny_swin(**shape, **change) for change in ({}, dict(shift_small_maps=False), dict(shift_windows=False))]
    for model in models[1:]:
        model.load_state_dict(models[0].state_dict())
    x = torch.randn(1, 3, 32, 32)
    with torch.set_grad_enabled(training):
        shifted, classifier, plain = (model.train(training)(x) for model in models)
    torch.testing.assert_close(classifier[0], shifted[0])
    assert (classifier[0] - plain[0]).abs().max() > 1e-3
    # Of stage 2 alone, given the same map.
    stages = [model.layers[1].eval() for model in models]
    with torch.set_grad_enabled(training):
        given = torch.randn(1, 4, 4, 24)
        shifted, classifier, plain = (stage(given)[0] for stage in stages)
    torch.testing.assert_close(classifier, plain)
    assert (classifier - shifted).abs().max() > 1e-3


def test_position_embedding_follows_the_image(tiny_swin):
    model = tiny_swin(use_abs_pos_embed=True, pretrain_img_size=(32, 48)).eval()
    assert model.absolute_pos_embed.shape == (1, 12, 8, 12)
    embedding = model.absolute_pos_embed
    torch.testing.assert_close(fit_position_embedding(embedding, 8, 12), embedding.permute(0, 2, 3, 1))
    for size in [(32, 48), (64, 40), (7, 5)]:
        assert model(torch.randn(1, 3, *size))[0].isfinite().all()


def test_other_channels(tiny_swin):
    for channels in (1, 4, 12):
        assert len(tiny_swin(in_channels=channels)(torch.randn(1, channels, 32, 32))) == 4


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('backend', ['reference', 'sdpa', 'auto'])
def test_pure_half_precision_and_autocast(tiny_swin, dtype, backend):
    x = torch.randn(1, 3, 45, 70)
    model = tiny_swin(attn_backend=backend, use_abs_pos_embed=True).eval()
    expected = model(x)
    with torch.autocast('cpu', dtype):
        for out, reference in zip(model(x), expected):
            assert (out - reference).abs().max() < 0.1
    for out, reference in zip(copy.deepcopy(model).to(dtype)(x.to(dtype)), expected):
        assert out.dtype == dtype
        assert (out - reference).abs().max() < 0.25


def test_every_parameter_gets_a_gradient(tiny_swin):
    model = tiny_swin(use_abs_pos_embed=True, drop_rate=0.1, attn_drop_rate=0.1, drop_path_rate=0.3)
    sum(out.square().mean() for out in model(torch.randn(4, 3, 45, 70))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_drop_path_rises_over_the_whole_network(tiny_swin):
    model = tiny_swin(drop_path_rate=0.7, out_indices=(1,))
    rates = [block.drop_path for layer in model.layers for block in layer.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_drop_path_keeps_the_mean_and_drops_whole_samples():
    torch.manual_seed(0)
    out = drop_path(torch.ones(4000, 2, 3, 4), 0.25, training=True).reshape(4000, -1)
    assert ((out == out[:, :1]).all(dim=1)).all()
    assert out[:, 0].mean().item() == pytest.approx(1, abs=0.05)
    assert sorted(set(out[:, 0].tolist())) == pytest.approx([0, 4 / 3])
    assert drop_path(out, 0.25, training=False) is out


def test_plans_indices_and_masks_are_made_once_for_a_size(tiny_swin, monkeypatch):
    model = tiny_swin().eval()
    image = torch.randn(1, 3, 50, 60)
    clear_caches()
    model(image)
    for name in ('_plan', '_sources', '_region_ids', '_relative_position_index'):
        monkeypatch.setattr(windows, name, lambda *_, name=name: pytest.fail(f'{name} again'))
    model(image)


def test_forward_leaves_no_state(tiny_swin):
    model = tiny_swin().eval()
    x = torch.randn(1, 3, 64, 80)
    before, names = model(x), set(model.__dict__)
    model(torch.randn(1, 3, 9, 9))
    with torch.inference_mode():
        model(torch.randn(2, 3, 90, 70))
    after = model(x)
    assert set(model.__dict__) == names
    for a, b in zip(before, after):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    model.train()(torch.randn(2, 3, 90, 70))[0].sum().backward()  # masks made under inference_mode serve training
