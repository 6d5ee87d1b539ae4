"""The plain vision transformer: equal to torch's own encoder, its pyramid, sizes, arguments, freezing."""

import math
import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import nn

from mmswin.backbones import ViTPyramid
from mmswin.backbones.vit_pyramid import STRIDES, VARIANTS, Upsample

SMALL = dict(pretrain_img_size=64, embed_dims=24, patch_size=16, depth=3, num_heads=3, drop_path_rate=0.0)
# Millions, of the classifiers in arXiv 2012.12877 (DeiT) and 2010.11929 (ViT).
PARAMETERS = {'deit-tiny': 5.7, 'deit-small': 22.05, 'vit-base-patch16': 86.6, 'vit-base-patch32': 88.2}


def build(**changes: object) -> ViTPyramid:
    """A small one with seeded weights, none of them trivial."""
    torch.manual_seed(0)
    model = ViTPyramid(**{**SMALL, **changes})
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return model


def torchs_layer(block: nn.Module) -> nn.TransformerEncoderLayer:
    """torch's own pre-norm encoder layer with a block's weights."""
    width = block.norm1.weight.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        layer = nn.TransformerEncoderLayer(
            width,
            block.attn.num_heads,
            block.mlp.fc1.out_features,
            dropout=0.0,
            activation='gelu',
            layer_norm_eps=1e-6,
            batch_first=True,
            norm_first=True,
        )
    names = {
        'attn.qkv.': 'self_attn.in_proj_',
        'attn.proj.': 'self_attn.out_proj.',
        'mlp.fc1.': 'linear1.',
        'mlp.fc2.': 'linear2.',
        'norm1.': 'norm1.',
        'norm2.': 'norm2.',
    }
    weights = {}
    for name, tensor in block.state_dict().items():
        ours = next(part for part in names if name.startswith(part))
        weights[name.replace(ours, names[ours])] = tensor
    layer.load_state_dict(weights)
    return layer.to(block.norm1.weight)


@pytest.mark.parametrize('size', [(64, 64), (48, 96)])
def test_equals_torchs_encoder(size: tuple[int, int]) -> None:
    """Values and gradients, the position embedding resized to the second image."""
    model = build(out_indices=(2,)).double()
    image = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    (found,) = model(image)

    copy = image.detach().clone().requires_grad_()
    rows, columns = size[0] // 16, size[1] // 16
    patches = F.conv2d(copy, model.patch_embed.proj.weight, model.patch_embed.proj.bias, stride=16)
    grid = model.pos_embed[:, 1:].transpose(1, 2).reshape(1, 24, 4, 4)
    if (rows, columns) != (4, 4):
        grid = F.interpolate(grid, (rows, columns), mode='bicubic', align_corners=False)
    tokens = torch.cat(
        [(model.cls_token + model.pos_embed[:, :1]).expand(2, -1, -1), (patches + grid).flatten(2).transpose(1, 2)], 1
    )
    for block in model.blocks:
        tokens = torchs_layer(block)(tokens)
    expected = model.norm(tokens)[:, 1:].transpose(1, 2).reshape(2, 24, rows, columns)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)

    weight = torch.randn_like(found)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(image.grad, copy.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('patch_size', [8, 16, 32])
@pytest.mark.parametrize('size', [(1, 1), (33, 47), (64, 96)])
def test_any_size_gives_swins_strides(patch_size: int, size: tuple[int, int]) -> None:
    outs = build(patch_size=patch_size, depth=1).eval()(torch.randn(2, 3, *size))
    for out, stride in zip(outs, STRIDES, strict=True):
        assert out.shape == (2, 24, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        assert out.is_contiguous() and out.isfinite().all()


@pytest.mark.parametrize('arch', list(VARIANTS))
def test_variants_have_the_published_size(arch: str) -> None:
    with torch.device('meta'):
        model = ViTPyramid(arch=arch)
    width = model.num_features[0]
    own = sum(p.numel() for name, p in model.named_parameters() if not name.startswith('pyramid.'))
    assert (own + 1000 * (width + 1)) / 1e6 == pytest.approx(PARAMETERS[arch], abs=0.06)
    assert model.num_features == [width] * 4


def test_the_pyramid_starts_as_interpolation() -> None:
    """Away from the border, beyond which a transposed convolution sees zeros."""
    upsample = Upsample(6)
    upsample.init_bilinear()
    maps = torch.randn(2, 6, 5, 7)
    expected = F.interpolate(maps, scale_factor=2, mode='bilinear', align_corners=False)
    torch.testing.assert_close(upsample(maps)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1])

    model = ViTPyramid(**SMALL)
    model.init_weights()
    model.eval()
    fine, middle, own, coarse = model(torch.randn(1, 3, 96, 96))
    torch.testing.assert_close(
        middle[:, :, 1:-1, 1:-1], F.interpolate(own, scale_factor=2, mode='bilinear')[:, :, 1:-1, 1:-1]
    )
    assert fine.shape[2:] == (24, 24)
    assert torch.equal(coarse, F.max_pool2d(own, 2))


def test_out_indices_choose_and_order() -> None:
    every = build(depth=1).eval()
    image = torch.randn(1, 3, 64, 64)
    some = build(depth=1, out_indices=(3, 0)).eval()
    own = {name: tensor for name, tensor in every.state_dict().items() if not name.startswith('pyramid')}
    some.load_state_dict({**own, **{f'pyramid.1.{k}': v for k, v in every.pyramid[0].state_dict().items()}})
    outs = every(image)
    for found, expected in zip(some(image), (outs[3], outs[0]), strict=True):
        assert torch.equal(found, expected)


def test_the_class_token_takes_part() -> None:
    model = build(depth=2).eval()
    image = torch.randn(1, 3, 64, 64)
    before = model(image)[2]
    with torch.no_grad():
        model.cls_token.add_(torch.linspace(-3, 3, 24))
    assert (model(image)[2] - before).abs().max() > 1e-3


def test_every_parameter_gets_a_gradient_and_checkpointing_changes_none() -> None:
    plain, recomputed = build(), build(with_cp=True)
    image = torch.randn(2, 3, 40, 56)
    for model in (plain, recomputed):
        sum(out.square().mean() for out in model(image)).backward()
    for (name, one), two in zip(plain.named_parameters(), recomputed.parameters(), strict=True):
        assert one.grad is not None and one.grad.abs().sum() > 0, name
        torch.testing.assert_close(one.grad, two.grad)


@pytest.mark.parametrize('stages', [-1, 0, 2])
def test_frozen_from_construction(stages: int) -> None:
    model = build(frozen_stages=stages, drop_rate=0.5)
    assert model.train() is model
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    expected = set()
    if stages >= 0:
        parts = ('patch_embed.', 'pos_embed', 'cls_token', *(f'blocks.{i}.' for i in range(stages)))
        expected = {name for name, _ in model.named_parameters() if name.startswith(parts)}
    assert frozen == expected
    assert model.pos_drop.training == (stages < 0)
    assert [block.training for block in model.blocks] == [i >= stages for i in range(3)]
    sum(out.mean() for out in model(torch.randn(1, 3, 32, 32))).backward()
    assert all((parameter.grad is None) == (name in expected) for name, parameter in model.named_parameters())


def test_stochastic_depth_rises_to_the_rate() -> None:
    model = build(drop_path_rate=0.4)
    assert [block.drop_path for block in model.blocks] == pytest.approx([0, 0.2, 0.4])
    model.train()
    image = torch.randn(1, 3, 32, 32)
    assert len({model(image)[2].sum().item() for _ in range(8)}) > 1
    model.eval()
    assert len({model(image)[2].sum().item() for _ in range(3)}) == 1


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    model = build().eval()
    image = torch.randn(1, 3, 64, 48)
    for half, full in zip(model.to(dtype)(image.to(dtype)), build().eval()(image), strict=True):
        assert half.dtype == dtype
        torch.testing.assert_close(half.float(), full, rtol=0.1, atol=0.15)


def test_builds_from_a_config_alone() -> None:
    model = MODELS.build(dict(SMALL, type='mmswin.ViTPyramid', arch='deit-tiny', depth=1))
    assert len(model(torch.zeros(1, 3, 32, 32))) == 4


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(arch='deit-huge'), "arch='deit-huge' is unknown; choose one of 'deit-tiny', 'deit-small'"),
        (dict(num_heads=5), 'num_heads=5 does not divide embed_dims=24'),
        (dict(patch_size=14), 'patch_size=14 must be a power of two from 4 on'),
        (dict(depth=0), 'depth=0 must be a positive integer'),
        (dict(out_indices=(4,)), 'out_indices=(4,): with 4 stages an index lies between -4 and 3'),
        (dict(frozen_stages=4), 'frozen_stages=4 must be an integer between -1 (nothing frozen) and 3'),
        (dict(drop_path_rate=2), 'drop_path_rate=2 must be a probability'),
        (dict(mlp_ratio=0), 'mlp_ratio=0 must be a positive number'),
        (dict(pretrain_img_size=8), 'pretrain_img_size=8 must cover at least one patch of 16 x 16 pixels'),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        ViTPyramid(**{**SMALL, **arguments})
    assert message in str(error.value) and '\n' not in str(error.value)
