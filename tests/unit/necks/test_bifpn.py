"""BiFPN: the published numbers of parameters, and values beside the formulas written out."""

import pytest
import torch
import torch.nn.functional as F

from mmswin.necks import BiFPN
from mmswin.necks.bifpn import WeightedFusion


@pytest.mark.parametrize(('widths', 'parameters'), [((192, 384, 768), 10_185_254), ((512, 1024, 2048), 11_414_054)])
def test_parameters_are_those_of_the_released_models(widths: tuple[int, ...], parameters: int) -> None:
    with torch.device('meta'):
        neck = BiFPN(widths)
    assert sum(parameter.numel() for parameter in neck.parameters()) == parameters


def test_fusion_weighs_and_ignores_negative_weights() -> None:
    fusion = WeightedFusion(3)
    fusion.weights.data = torch.tensor([1.0, 3.0, -2.0])
    x, y, z = torch.randn(3, 2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    mean = (x + 3 * y) / 4.0001
    torch.testing.assert_close(fusion(x, y, z), mean * mean.sigmoid())


def test_two_layers_are_the_formulas() -> None:
    """Three maps become four levels of odd sizes; every weight differs."""
    torch.manual_seed(0)
    neck = BiFPN((3, 4, 5), 8, num_outs=4, norm_cfg=dict(type='GN', num_groups=2)).double()
    for name, parameter in neck.named_parameters():
        if name.endswith('weights'):
            parameter.data = torch.rand_like(parameter) + 0.5
    inputs = [torch.randn(2, width, *size).double() for width, size in zip((3, 4, 5), ((12, 20), (6, 10), (3, 5)))]
    maps = [*inputs, F.max_pool2d(inputs[2], 3, 2, 1)]
    maps = [lateral.gn(lateral.conv(x)) for lateral, x in zip(neck.laterals, maps)]

    def fuse(fusion: WeightedFusion, conv: torch.nn.Module, *inputs: torch.Tensor) -> torch.Tensor:
        mean = sum(w * x for w, x in zip(fusion.weights, inputs)) / (fusion.weights.sum() + 1e-4)
        return conv.gn(conv.conv(mean * mean.sigmoid()))

    def larger(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return F.interpolate(x, like.shape[2:])

    for layer in neck.layers:
        p3, p4, p5, p6 = maps
        down, up = list(zip(layer.down_fusions, layer.down_convs)), list(zip(layer.up_fusions, layer.up_convs))
        t5 = fuse(*down[2], p5, larger(p6, p5))
        t4 = fuse(*down[1], p4, larger(t5, p4))
        t3 = fuse(*down[0], p3, larger(t4, p3))
        o4 = fuse(*up[0], F.max_pool2d(t3, 3, 2, 1), t4, p4)
        o5 = fuse(*up[1], F.max_pool2d(o4, 3, 2, 1), t5, p5)
        o6 = fuse(*up[2], F.max_pool2d(o5, 3, 2, 1), p6)
        maps = [t3, o4, o5, o6]
    found = neck(inputs)
    assert [tuple(x.shape[2:]) for x in found] == [(12, 20), (6, 10), (3, 5), (2, 3)]
    for one, other in zip(found, maps):
        torch.testing.assert_close(one, other)


def test_convolutions_start_from_xavier_uniform() -> None:
    neck = BiFPN((16, 32, 64), 32)
    neck.init_weights()
    weight = neck.layers[0].up_convs[1].conv.weight
    bound = (6 / (9 * 32 + 9 * 32)) ** 0.5
    assert 0.98 * bound < weight.abs().max() <= bound


def test_the_names_and_shapes_of_released_checkpoints_load() -> None:
    neck = BiFPN((8, 16, 32), 32)
    theirs = {}
    for name, value in neck.state_dict().items():
        kind, number, *rest = name.split('.')
        if kind == 'laterals':
            theirs[f'neck.bi_fpn.0.lateral_convs.{number}.{".".join(rest)}'] = value + 1
        elif rest[0].endswith('fusions'):
            part = {'down_fusions': 'lateral_combine', 'up_fusions': 'out_combine'}[rest[0]]
            theirs[f'neck.bi_fpn.{number}.{part}.{rest[1]}.weights'] = (value + 1).view(1, 1, 1, 1, -1)
        else:
            part = {'down_convs': 'lateral_combine_conv', 'up_convs': 'out_combine_conv'}[rest[0]]
            theirs[f'neck.bi_fpn.{number}.{part}.{".".join(rest[1:])}'] = value + 1
    before = {name: value.clone() for name, value in neck.state_dict().items()}
    assert 'neck.bi_fpn.1.out_combine.2.weights' in theirs and 'neck.bi_fpn.0.lateral_combine_conv.0.gn.bias' in theirs
    model = torch.nn.Module()
    model.neck = neck
    assert model.load_state_dict(theirs) and all(torch.equal(x, before[n] + 1) for n, x in neck.state_dict().items())
    assert model.load_state_dict(model.state_dict())


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match='num_outs=2'):
        BiFPN((16, 32, 64), 32, num_outs=2)
    with pytest.raises(ValueError, match='2 maps'):
        BiFPN((16, 32, 64), 32)([torch.zeros(1, 16, 8, 8)] * 2)
