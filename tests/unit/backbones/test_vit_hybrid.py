"""R50 + ViT: sizes of its maps, its ResNet's padding and standardised filters, files, frozen parts."""

import pytest
import torch
import torch.nn.functional as F

from mmswin.backbones import ViTHybrid
from mmswin.backbones.vit_hybrid import StdConv2d, pad_same

SMALL = dict(pretrain_img_size=64, embed_dims=24, depth=2, num_heads=3)


@pytest.fixture(scope='module')
def net():
    torch.manual_seed(0)
    net = ViTHybrid(**SMALL)
    net.init_weights()
    return net.eval()


@pytest.mark.parametrize('size', [(1, 1), (33, 47), (64, 96)])
def test_any_size_gives_ceil_divided_maps(net, size):
    outs = net(torch.randn(2, 3, *size))
    assert [out.shape[1] for out in outs] == net.num_features == [256, 512, 24, 24]
    for out, stride in zip(outs, (4, 8, 16, 32)):
        assert out.shape[2:] == tuple(-(-side // stride) for side in size)
        assert out.isfinite().all()


def test_it_is_as_large_as_published():
    with torch.device('meta'):
        net = ViTHybrid()
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == 97.89


def test_maps_are_those_of_the_parts(net):
    x = torch.randn(1, 3, 64, 64)
    outs = net(x)
    maps = net.patch_embed.backbone(x)
    torch.testing.assert_close(outs[0], maps[0])
    torch.testing.assert_close(outs[1], maps[1])
    torch.testing.assert_close(outs[3], F.max_pool2d(outs[2], 2))
    one = ViTHybrid(**SMALL, out_indices=(3, 0)).eval()
    one.load_state_dict(net.state_dict())
    for mine, expected in zip(one(x), (outs[3], outs[0]), strict=True):
        torch.testing.assert_close(mine, expected)


def test_filters_are_standardised_and_padding_is_that_of_tensorflow():
    torch.manual_seed(0)
    layer, x = StdConv2d(3, 4, 3, 2), torch.randn(1, 3, 8, 9)
    weight = layer.weight.flatten(1)
    weight = (weight - weight.mean(1, keepdim=True)) / weight.std(1, keepdim=True, unbiased=False)
    # Of 8 rows one is missing, which goes below; of 9 columns two.
    expected = F.conv2d(F.pad(x, (1, 1, 0, 1)), weight.view_as(layer.weight), stride=2)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    assert pad_same(x, 1, 1) is x


def test_files_and_frozen_parts(net):
    weights = {**net.state_dict(), 'head.weight': torch.zeros(5, 24), 'head.bias': torch.zeros(5)}
    assert {'patch_embed.backbone.stem.conv.weight', 'patch_embed.backbone.stages.2.blocks.8.norm3.bias',
            'patch_embed.backbone.stages.1.blocks.0.downsample.conv.weight', 'patch_embed.proj.bias'} <= weights.keys()  # fmt: skip
    model = ViTHybrid(**SMALL, frozen_stages=0).train()
    model.load_state_dict(weights, strict=False)
    assert model.load_report.loaded == model.load_report.total and not model.load_report.missing
    outs = model(torch.randn(2, 3, 40, 40))
    sum(out.square().mean() for out in outs).backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name in net.state_dict() if name.startswith(('blocks', 'norm'))}


def test_another_patch_is_refused():
    with pytest.raises(ValueError, match='patch_size'):
        ViTHybrid(**SMALL, patch_size=8)
