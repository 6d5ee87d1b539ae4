"""Weights for the plain vision transformer: files of DeiT, timm, MAE, mmpretrain and DeiT III, its own, what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmswin.backbones import SwinTransformer, ViTPyramid
from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.formats import VIT_MMPRETRAIN
from mmswin.checkpoints.naming import rename, reverse

SMALL = dict(pretrain_img_size=64, embed_dims=24, patch_size=16, depth=3, num_heads=3)


def build(**changes: object) -> ViTPyramid:
    torch.manual_seed(1)
    model = ViTPyramid(**{**SMALL, **changes})
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


def classifier(**changes: object) -> dict[str, Tensor]:
    """A classifier's tensors, as the released files have them."""
    weights = {name: tensor for name, tensor in build(**changes).state_dict().items() if 'pyramid' not in name}
    return {**weights, 'head.weight': torch.zeros(10, 24), 'head.bias': torch.zeros(10)}


def assert_loaded(model: nn.Module, weights: dict[str, Tensor]) -> None:
    own = model.state_dict()
    for name, tensor in weights.items():
        if not name.startswith(('head', 'dist_token')):
            assert torch.equal(own[name], tensor), name


@pytest.mark.parametrize('container', [None, 'model', 'state_dict'])
def test_a_classifier_loads_and_is_reported(container: str | None, tmp_path: Path) -> None:
    weights = classifier()
    torch.save({container: weights} if container else weights, tmp_path / 'vit.pth')
    model = ViTPyramid(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'vit.pth')))
    model.init_weights()
    assert_loaded(model, weights)
    report = model.load_report
    assert (report.loaded, report.total) == (len(weights) - 2, len(weights) - 2)
    assert report.unused == ['head.weight', 'head.bias'] and not report.unexpected and not report.resized
    assert report.missing and all(name.startswith('pyramid.') for name in report.missing)
    assert report.summary().startswith(f'loaded 42 of 42 backbone tensors from {tmp_path}/vit.pth (timm format)')


def test_a_distilled_classifier_leaves_its_second_token_behind() -> None:
    weights = classifier()
    position = weights['pos_embed']
    distilled = {
        **weights,
        'dist_token': torch.ones(1, 1, 24),
        'head_dist.weight': torch.zeros(10, 24),
        'pos_embed': torch.cat([position[:, :1], torch.full((1, 1, 24), 9.0), position[:, 1:]], dim=1),
    }
    model = ViTPyramid(**SMALL)
    model.load_state_dict(distilled, strict=False)
    assert_loaded(model, weights)
    assert 'dist_token' in model.load_report.unused and model.load_report.resized == ['pos_embed']


def test_without_a_class_token_only_that_is_missing() -> None:
    weights = classifier()
    del weights['cls_token']
    weights['pos_embed'] = weights['pos_embed'][:, 1:]
    model = ViTPyramid(**SMALL)
    model.load_state_dict(weights, strict=False)
    assert torch.equal(model.pos_embed[:, 1:], weights['pos_embed'])
    assert [name for name in model.load_report.missing if 'pyramid' not in name] == ['cls_token']


@pytest.mark.parametrize('image', [96, (32, 80)])
def test_positions_of_another_image_size_are_resized(image: int | tuple[int, int]) -> None:
    weights = classifier()
    ramp = torch.linspace(0, 1, 4).repeat(4)[:, None].expand(16, 24)  # rises from column to column
    weights['pos_embed'] = torch.cat([weights['pos_embed'][:, :1], ramp[None]], dim=1)
    model = ViTPyramid(**{**SMALL, 'pretrain_img_size': image})
    model.load_state_dict(weights, strict=False)
    assert model.load_report.resized == ['pos_embed']
    assert torch.equal(model.pos_embed[:, :1], weights['pos_embed'][:, :1])
    grid = model.pos_embed[0, 1:].reshape(*model.grid, 24)
    assert grid.std(dim=0).max() < 1e-5 and (grid[0].diff(dim=0) > -0.05).all() and grid[0, -1, 0] > grid[0, 0, 0] + 0.9


def test_positions_that_cover_no_grid_are_refused() -> None:
    weights = classifier()
    weights['pos_embed'] = weights['pos_embed'][:, :-2]
    with pytest.raises(CheckpointError, match=r'pos_embed \(1, 15, 24\) instead of \(1, 17, 24\)'):
        ViTPyramid(**SMALL).load_state_dict(weights, strict=False)


PATCH = 'patch_embed.proj.weight'


@pytest.mark.parametrize(
    ('odd', 'words'),
    [
        ({PATCH: torch.zeros(24, 3, 2, 16, 16)}, 'patch projection is of shape (24, 3, 2, 16, 16)'),  # VideoMAE
        ({PATCH: torch.zeros(24, 768)}, 'patch projection is of shape (24, 768)'),
        ({PATCH: 3}, 'patch projection is no tensor'),
        ({'pos_embed': torch.zeros(1, 4, 4, 24)}, 'pos_embed (1, 4, 4, 24) instead of (1, 17, 24)'),  # SAM
        ({'pos_embed': torch.zeros(24)}, 'pos_embed (24,) instead of (1, 17, 24)'),
    ],
)
@pytest.mark.parametrize('without', [(), ('cls_token',)])
def test_parts_of_other_shapes_are_refused(odd: dict, words: str, without: tuple[str, ...]) -> None:
    weights = {name: value for name, value in classifier().items() if name not in without}
    with pytest.raises(CheckpointError) as error:
        ViTPyramid(**SMALL).load_state_dict({**weights, **odd}, strict=False)
    assert words in str(error.value)


def test_another_width_without_a_class_token() -> None:
    weights = classifier(embed_dims=48)
    del weights['cls_token']
    weights['pos_embed'] = weights['pos_embed'][:, 1:]
    with pytest.raises(CheckpointError, match='the file has embed_dims=48'):
        ViTPyramid(**SMALL).load_state_dict(weights, strict=False)


def test_its_own_weights_load_strictly_alone_and_in_a_detector() -> None:
    model, weights = ViTPyramid(**SMALL), build().state_dict()
    model.load_state_dict(weights, strict=True)
    assert_loaded(model, weights)

    detector = nn.ModuleDict({'backbone': ViTPyramid(**SMALL), 'neck': nn.Linear(2, 2)})
    whole = {
        **{f'backbone.{name}': tensor for name, tensor in weights.items()},
        'neck.weight': torch.ones(2, 2),
        'neck.bias': torch.ones(2),
    }
    detector.load_state_dict(whole, strict=True)
    assert_loaded(detector['backbone'], weights)


def test_a_detector_gives_its_backbone(tmp_path: Path) -> None:
    weights = build().state_dict()
    whole = {f'backbone.{name}': tensor for name, tensor in weights.items()}
    torch.save({'state_dict': {**whole, 'neck.weight': torch.ones(2, 2)}}, tmp_path / 'detector.pth')
    model = ViTPyramid(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'detector.pth')))
    model.init_weights()
    assert_loaded(model, weights)
    assert model.load_report.unused == ['neck.weight'] and not model.load_report.missing


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(embed_dims=48), 'has embed_dims=48, depth=3, patch_size=16, the config says embed_dims=24, depth=3'),
        (dict(depth=5), 'the file has embed_dims=24, depth=5'),
        (dict(patch_size=32), 'patch_size=32, the config says embed_dims=24, depth=3, patch_size=16'),
        (dict(mlp_ratio=2), 'the structure agrees but the shapes of single tensors do not'),
    ],
)
def test_another_structure_is_refused_with_both_sides_named(changes: dict, message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        ViTPyramid(**SMALL).load_state_dict(classifier(**changes), strict=False)
    assert message in str(error.value) and '\n' not in str(error.value)


def test_another_variant_is_named() -> None:
    weights = ViTPyramid(arch='deit-tiny', mlp_ratio=0.1).state_dict()
    message = "the file is deit-tiny, the config says vit-base-patch32: set arch='deit-tiny'"
    with pytest.raises(CheckpointError, match=message):
        ViTPyramid(arch='vit-base-patch32', mlp_ratio=0.1).load_state_dict(weights, strict=False)


def test_other_networks_are_named() -> None:
    with torch.device('meta'):
        swin = SwinTransformer(depths=(1, 1, 1, 1)).state_dict()
    for weights, network in (
        (swin, 'a Swin (authors format), not a plain vision transformer'),
        ({'layer1.0.conv1.weight': torch.zeros(1)}, 'a ResNet, not a plain vision transformer'),
        ({'something': torch.zeros(1)}, "no plain vision transformer of a known format (1 entries, the first is 'some"),
    ):
        with pytest.raises(CheckpointError) as error:
            ViTPyramid(**SMALL).load_state_dict(weights, strict=False)
        assert network in str(error.value)


def test_a_swin_refuses_a_vit() -> None:
    with pytest.raises(CheckpointError, match='a ViT, not a Swin'):
        SwinTransformer(depths=(1, 1, 1, 1)).load_state_dict(classifier(), strict=False)


DECODER = {
    'mask_token': torch.zeros(1, 1, 8), 'decoder_embed.weight': torch.zeros(8, 24), 'decoder_pos_embed': torch.zeros(1, 17, 8),
    'decoder_blocks.0.attn.qkv.weight': torch.zeros(24, 8), 'decoder_norm.weight': torch.ones(8),
    'decoder_pred.weight': torch.zeros(3, 8)}  # fmt: skip


def _encoder(**changes: object) -> dict[str, Tensor]:
    return {name: value for name, value in classifier(**changes).items() if not name.startswith('head')}


def _as_mmpretrain(weights):
    return {'backbone.' + rename(name, reverse(VIT_MMPRETRAIN)): value for name, value in weights.items()}


def _loaded(file, **changes):
    model = ViTPyramid(**SMALL, **changes)
    model.load_state_dict(file, strict=False)
    report = model.load_report
    assert report.loaded == report.total and not report.unexpected
    return model


def test_mae_with_its_decoder():
    weights = _encoder()
    model = _loaded(weights | DECODER)
    assert_loaded(model, weights)
    assert model.load_report.unused == list(DECODER)


def test_mae_fine_tuned_has_its_norm_after_averaging():
    weights = _encoder()
    tuned = {name.replace('norm.', 'fc_norm.') if name.startswith('norm.') else name: v for name, v in weights.items()}
    assert_loaded(_loaded(tuned), weights)
    # Where there are both, the final norm is the one of that name.
    both = weights | {'fc_norm.weight': torch.zeros(24), 'fc_norm.bias': torch.zeros(24)}
    assert_loaded(_loaded(both), weights)


@pytest.mark.parametrize('beside', [{}, {'neck.' + name: value for name, value in DECODER.items()}], ids=['vit', 'mae'])
def test_mmpretrain(beside):
    weights = _encoder()
    file = _as_mmpretrain(weights)
    anchors = ('patch_embed.projection.weight', 'layers.2.ln1.weight', 'layers.0.ffn.layers.0.0.bias', 'ln1.bias',
               'layers.1.ffn.layers.1.weight', 'layers.1.attn.proj.weight', 'cls_token', 'pos_embed')  # fmt: skip
    assert {'backbone.' + name for name in anchors} <= file.keys()
    model = _loaded(file | beside)
    assert_loaded(model, weights)
    assert model.load_report.format == 'mmpretrain'


@pytest.mark.parametrize('names', ['timm', 'authors', 'mmpretrain'])
def test_deit_3(names):
    """Factors of the channels, and positions of the patches alone."""
    weights = _encoder(layer_scale_init_value=0.1)
    file = {**weights, 'pos_embed': weights['pos_embed'][:, 1:]}
    if names == 'authors':
        file = {name.replace('.ls1.gamma', '.gamma_1').replace('.ls2.gamma', '.gamma_2'): v for name, v in file.items()}
    elif names == 'mmpretrain':
        file = _as_mmpretrain(file)
        assert 'backbone.layers.0.attn.gamma1.weight' in file and 'backbone.layers.0.ffn.gamma2.weight' in file
    model = _loaded(file, layer_scale_init_value=1e-6)
    position = torch.cat([torch.zeros(1, 1, 24), weights['pos_embed'][:, 1:]], dim=1)
    assert_loaded(model, {**weights, 'pos_embed': position})
    with pytest.raises(CheckpointError, match='layer_scale_init_value'):
        ViTPyramid(**SMALL).load_state_dict(file, strict=False)


def test_factors_scale_what_the_branches_add():
    model = build(layer_scale_init_value=0.5).eval()
    block = model.blocks[0]
    x = torch.randn(1, 5, 24)
    middle = x + block.ls1.gamma * block.attn(block.norm1(x))
    expected = middle + block.ls2.gamma * block.mlp(block.norm2(middle))
    torch.testing.assert_close(block(x), expected)
    # And so they do where the memory is saved.
    image, found = torch.randn(1, 3, 64, 64), []
    for with_cp in (False, 'selective'):
        model = build(layer_scale_init_value=0.5, with_cp=with_cp, drop_path_rate=0.0)
        outs = model(image)
        sum(out.square().mean() for out in outs).backward()
        found.append([*outs, *(parameter.grad for parameter in model.parameters())])
    for mine, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4 * float(expected.detach().abs().max()))
