"""Bidirectional feature pyramid (Tan et al., EfficientDet, arXiv 1911.09070, section 3) with full convolutions.

As the authors of Swin use it in RepPoints V2: where EfficientDet has separable convolutions and batch norm, this one has
plain 3x3 convolutions and group norm.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmswin.checkpoints.formats import REPPOINTS_V2_NECK
from mmswin.checkpoints.naming import rename_below
from mmswin.registry import MODELS


class WeightedFusion(nn.Module):
    """Swish of a weighted mean of maps of one size; the weights are learnt and not negative ("fast normalised fusion").

    Args:
        num_inputs: Number of maps.
        eps: Added to the sum of the weights.
    """

    def __init__(self, num_inputs: int, eps: float = 1e-4) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(num_inputs))
        self.eps = eps

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps of B x C x H x W to one of them."""
        weights = self.weights.relu()
        weights = weights / (weights.sum() + self.eps)
        return F.silu(sum(weight * x for weight, x in zip(weights, maps, strict=True)))


class BiFPNLayer(BaseModule):
    """One pass down and one up a pyramid.

    Args:
        num_levels: Levels of the pyramid.
        channels: Width of its maps.
        norm_cfg: Normalisation after every convolution.
    """

    def __init__(self, num_levels: int, channels: int, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        steps = num_levels - 1
        conv = partial(ConvModule, channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=None)
        # Entry i of those downwards makes level i, of those upwards level i + 1.
        self.down_fusions = nn.ModuleList(WeightedFusion(2) for _ in range(steps))
        self.down_convs = nn.ModuleList(conv() for _ in range(steps))
        self.up_fusions = nn.ModuleList(WeightedFusion(2 if level == steps - 1 else 3) for level in range(steps))
        self.up_convs = nn.ModuleList(conv() for _ in range(steps))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps of B x C x H x W from fine to coarse, each half as large as the one before, to as many."""
        down = list(maps)
        for level in range(len(maps) - 2, -1, -1):
            coarser = F.interpolate(down[level + 1], size=maps[level].shape[2:], mode='nearest')
            down[level] = self.down_convs[level](self.down_fusions[level](maps[level], coarser))
        up = [down[0]]
        for level in range(1, len(maps)):
            inputs = [F.max_pool2d(up[-1], 3, 2, 1), down[level]]
            if level < len(maps) - 1:  # at the top both are the same
                inputs.append(maps[level])
            up.append(self.up_convs[level - 1](self.up_fusions[level - 1](*inputs)))
        return up


@MODELS.register_module()
class BiFPN(BaseModule):
    """Bidirectional feature pyramid network.

    Levels beyond the backbone's are poolings of its last map (kernel 3, stride 2). Every map gets a 1x1 convolution of
    its own to ``out_channels``; then the pyramid is passed ``num_layers`` times.

    Args:
        in_channels: Widths of the backbone's maps, from fine to coarse.
        out_channels: Width of all maps of the pyramid.
        num_outs: Levels of the pyramid.
        num_layers: How often it is passed downwards and upwards.
        norm_cfg: Normalisation after every convolution.
        init_cfg: How weights are initialised.

    Raises:
        ValueError: The pyramid has fewer levels than the backbone, or fewer than two.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        num_outs: int = 5,
        num_layers: int = 2,
        norm_cfg: dict[str, Any] = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006
        init_cfg: dict[str, Any] | None = dict(type='Xavier', layer='Conv2d', distribution='uniform'),  # noqa: B006
    ) -> None:
        super().__init__(init_cfg)
        if num_outs < max(len(in_channels), 2):
            raise ValueError(
                f'num_outs={num_outs}: expected at least one level for each of the {len(in_channels)} maps of the '
                'backbone, and two in all'
            )
        self.in_channels = list(in_channels)
        widths = self.in_channels + self.in_channels[-1:] * (num_outs - len(in_channels))
        self.laterals = nn.ModuleList(
            ConvModule(width, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None) for width in widths
        )
        self.layers = nn.ModuleList(BiFPNLayer(num_outs, out_channels, norm_cfg) for _ in range(num_layers))
        self._register_load_state_dict_pre_hook(_from_authors)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of the backbone to those of the pyramid, B x ``out_channels`` x H x W each.

        Raises:
            ValueError: There are more or fewer maps than ``in_channels`` says.
        """
        if len(inputs) != len(self.in_channels):
            raise ValueError(f'{len(inputs)} maps: expected {len(self.in_channels)}, as in_channels={self.in_channels}')
        maps = list(inputs)
        while len(maps) < len(self.laterals):
            maps.append(F.max_pool2d(maps[-1], 3, 2, 1))
        maps = [lateral(x) for lateral, x in zip(self.laterals, maps)]
        for layer in self.layers:
            maps = layer(maps)
        return tuple(maps)


def _from_authors(state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Take the names and shapes of the authors' checkpoints too."""
    rename_below(state_dict, prefix, REPPOINTS_V2_NECK)
    for name, value in state_dict.items():
        if name.startswith(prefix) and name.endswith('.weights'):
            state_dict[name] = value.flatten()  # 1 x 1 x 1 x 1 x k there
