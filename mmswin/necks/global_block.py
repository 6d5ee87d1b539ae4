"""A Transformer block over all places of the last map, the "extra global self-attention layer" of HTC++.

The Swin paper has one sentence on it, in appendix A2.2; its size follows from the published parameters: 12 C^2, those of
attention and of an MLP. What else the block is made of follows ViT and Swin here and is an inference.
"""

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor

from mmswin.backbones import arguments
from mmswin.backbones.vit_pyramid import Block
from mmswin.registry import MODELS


@MODELS.register_module()
class GlobalBlock(BaseModule):
    """Lets every place of the coarsest map see all others, and leaves the other maps as they are; a neck before the neck.

    The block is x + attention(norm(x)), then x + MLP(norm(x)). It has no position term: the map's size changes from image
    to image, and Swin's maps know their positions. What pads a batch takes part.

    Args:
        channels: Width C of the last map.
        num_heads: Heads of attention; as many as in the backbone's last stage keeps their width.
        mlp_ratio: Hidden width of the MLP over C.
        drop_path_rate: Stochastic depth of both branches.
        norm_cfg: The normalisation, LayerNorm by default.
        act_cfg: The MLP's activation, GELU by default.
        init_cfg: How weights are initialised.

    Raises:
        ValueError: The heads do not divide the width, or a rate or ratio is out of range.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        mlp_ratio: float = 4,
        drop_path_rate: float = 0.0,
        norm_cfg: dict[str, Any] = dict(type='LN'),  # noqa: B006
        act_cfg: dict[str, Any] = dict(type='GELU'),  # noqa: B006
        init_cfg: dict[str, Any] | None = dict(type='TruncNormal', layer='Linear', std=0.02),  # noqa: B006
    ) -> None:
        super().__init__(init_cfg)
        if num_heads < 1 or channels % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide channels={channels}')
        arguments.check_mlp(channels, mlp_ratio)
        arguments.check_rates(drop_path_rate=drop_path_rate)
        self.channels = channels
        self.block = Block(channels, num_heads, mlp_ratio, drop_path_rate, act_cfg, norm_cfg)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of B x C_i x H_i x W_i, from fine to coarse, to the same.

        Raises:
            ValueError: The last map has another width than ``channels``.
        """
        *finer, last = inputs
        if last.shape[1] != self.channels:
            raise ValueError(f'the last map has {last.shape[1]} channels: expected channels={self.channels}')
        x = self.block(last.flatten(2).transpose(1, 2))  # B x H W x C
        return *finer, x.transpose(1, 2).unflatten(2, last.shape[2:])
