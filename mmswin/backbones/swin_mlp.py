"""Swin-MLP for dense prediction (the authors' repository; Swin-Mixer in arXiv 2103.14030, section 4.4, table 6).

In place of attention each head mixes the tokens of a window by one learned matrix. Windows are displaced by padding and not
by a cyclic shift, so that nothing needs a mask. Parameters bear the authors' names.
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from mmswin.backbones import arguments
from mmswin.backbones.base import drop_path
from mmswin.backbones.swin import Mlp, SwinTransformer
from mmswin.ops import execution
from mmswin.ops.windows import exceeds, from_heads, to_heads, window_plan
from mmswin.registry import MODELS

# By the channels of a head, as the authors name their files; the base variant's have 32.
VARIANTS = {
    'c24': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(4, 8, 16, 32)),
    'c12': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(8, 16, 32, 64)),
    'c6': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(16, 32, 64, 128)),
    'base': dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
}


class SwinMLPBlock(nn.Module):
    """x + mixed tokens(norm(x)), then x + MLP(norm(x)), each branch under stochastic depth."""

    def __init__(
        self,
        dim: int,
        mlp_ratio: float,
        drop: float,
        drop_path: float,
        act_cfg: dict,
        norm_cfg: dict,
        num_heads: int,
        window: tuple[int, int],
        shift: tuple[int, int],
        **_: object,
    ) -> None:
        super().__init__()
        self.num_heads, self.window, self.shift, self.drop_path = num_heads, window, shift, drop_path
        self.norm1 = arguments.build_norm(norm_cfg, dim)
        rows = num_heads * window[0] * window[1]
        self.spatial_mlp = nn.Conv1d(rows, rows, kernel_size=1, groups=num_heads)
        self.norm2 = arguments.build_norm(norm_cfg, dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_cfg, drop)

    def forward(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to the same."""
        x = x + drop_path(self.mix_tokens(self.norm1(x)), self.drop_path, self.training)
        return x + drop_path(self.mlp(self.norm2(x)), self.drop_path, self.training)

    def mix_tokens(self, x: Tensor, mix: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """``B x H x W x C`` to the same, by ``spatial_mlp`` or what is given in its place.

        Windows are displaced by zeros at the top and left, and filled up with zeros at the bottom and right. As in the
        authors' code they are not on maps no larger than a window.
        """
        height, width = x.shape[1:3]
        larger = exceeds(height, width, self.window)
        top, left = ((side - step) % side * larger for side, step in zip(self.window, self.shift))
        plan = window_plan(height + top, width + left, self.window)
        windows = to_heads(F.pad(x, (0, 0, left, 0, top, 0)), plan, self.num_heads, parts=1)
        mixed = (mix or self.spatial_mlp)(windows[0].flatten(1, 2)).view(windows.shape)
        return from_heads(mixed, plan)[:, top:, left:]


execution.register(SwinMLPBlock, nn.Conv1d)


@MODELS.register_module()
class SwinMLP(SwinTransformer):
    """Swin-MLP backbone: the arguments of :class:`mmswin.SwinTransformer`, by keyword, without those of attention.

    Args:
        arch: Variant, 'c24' (default), 'c12', 'c6' or 'base': embed_dims, depths and num_heads if not given.
        window_size: Window side in tokens, (rows, columns), or a list of one for each stage; the authors have 7 for
            'base' and 8 for the others. Weights for other windows do not load: each place in a window has its own.
        swin: The other arguments of :class:`mmswin.SwinTransformer`, save those of attention.

    Raises:
        ValueError: Arguments that are out of range or do not fit together.
    """

    variants = VARIANTS
    block = SwinMLPBlock

    def __init__(self, *, window_size: int | Sequence[int | tuple[int, int]] = 8, **swin) -> None:
        attention = ('qkv_bias', 'qk_scale', 'attn_drop_rate', 'use_rel_pos_bias', 'use_content_term', 'attn_backend')
        arguments.refuse(swin, attention, 'is no argument of SwinMLP, which has no attention')
        if swin.get('shift_small_maps'):
            arguments.refuse(swin, ('shift_small_maps',), 'is never true of SwinMLP')
        super().__init__(window_size=window_size, **swin)

    def _init_own(self) -> None:
        super()._init_own()
        for module in self.modules():
            if isinstance(module, SwinMLPBlock):
                trunc_normal_(module.spatial_mlp.weight, std=0.02)
                nn.init.zeros_(module.spatial_mlp.bias)
