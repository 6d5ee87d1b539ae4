"""Deformable convolution on a CPU: mmcv's values and gradients."""

import pytest
import torch
from mmcv.ops import DeformConv2d as MMCVDeformConv2d

from mmswin.dense_heads.deform_conv import DeformConv2d


@pytest.mark.parametrize('size', [(3, 3), (5, 4), (13, 17)])
@pytest.mark.parametrize(
    'options',
    [
        dict(kernel_size=3, padding=1),
        dict(kernel_size=3, padding=2, dilation=2, stride=2),
        dict(kernel_size=(1, 3), padding=(0, 1), stride=(1, 2)),
        dict(kernel_size=3, padding=1, groups=2, deform_groups=2),
    ],
    ids=str,
)
def test_values_and_gradients_are_those_of_mmcv(size, options):
    torch.manual_seed(0)
    layers = [kind(4, 6, **options).double() for kind in (MMCVDeformConv2d, DeformConv2d)]
    layers[1].load_state_dict(layers[0].state_dict())
    plain = torch.nn.Conv2d(4, 6, **{key: value for key, value in options.items() if key != 'deform_groups'})
    places = 2 * layers[0].weight[0, 0].numel() * layers[0].deform_groups
    offsets = 3 * torch.randn(2, places, *plain(torch.zeros(1, 4, *size)).shape[2:], dtype=torch.float64)
    maps = torch.randn(2, 4, *size, dtype=torch.float64)
    found = []
    for layer in layers:
        x, offset = maps.clone().requires_grad_(), offsets.clone().requires_grad_()
        out = layer(x, offset)
        out.square().sum().backward()
        found.append((out, x.grad, offset.grad, layer.weight.grad))
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('size', [(1, 1), (9, 11)])
def test_no_offsets_make_a_convolution(size):
    torch.manual_seed(0)
    layer, x = DeformConv2d(3, 5, 3, padding=1), torch.randn(2, 3, *size)
    expected = torch.nn.functional.conv2d(x, layer.weight, padding=1)
    torch.testing.assert_close(layer(x, torch.zeros(2, 18, *size)), expected)
