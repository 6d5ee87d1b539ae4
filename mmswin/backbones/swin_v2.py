"""Swin Transformer V2 for dense prediction (Liu et al., arXiv 2111.09883), read top to bottom after :mod:`.swin`.

Three things differ from the first version: norms stand behind attention, MLP and the reduction of patch merging (section
3.2), scores are cosines with a learned factor (equation 2), and the relative position bias is what a small network says of
the offsets, on a logarithmic scale (equations 3 and 4). Windows, shift and padding are those of :mod:`mmswin.ops.windows`.
Parameters bear the authors' names.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmswin.backbones import arguments
from mmswin.backbones.base import drop_path
from mmswin.backbones.swin import PatchMerging, SwinBlock, SwinTransformer, WindowAttention
from mmswin.ops import execution
from mmswin.ops.merging import neighbours
from mmswin.ops.windows import log_spaced_offsets
from mmswin.registry import MODELS

# Of the network that makes the bias table, and the table's largest value (authors' code; sigmoid times 16).
HIDDEN, LARGEST_BIAS = 512, 16
# The factor on cosines starts at 10 and stays below 100; 1 over it is the paper's temperature, above 0.01.
FIRST_FACTOR, LARGEST_FACTOR = 10, 100


class PositionBias(nn.Module):
    """The network that makes the bias table (paper, equation 3). Its layers have the names of an nn.Sequential's."""

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.add_module('0', nn.Linear(2, HIDDEN))
        self.add_module('2', nn.Linear(HIDDEN, num_heads, bias=False))

    def forward(self, offsets: Tensor) -> Tensor:
        """``rows x 2`` to ``rows x heads``, between 0 and 16."""
        first, second = self.children()
        return LARGEST_BIAS * second(F.relu(first(offsets))).sigmoid()


class WindowAttentionV2(WindowAttention):
    """(Shifted-)window attention by scaled cosines, with a continuous position bias (paper, sections 3.2 and 3.3)."""

    def __init__(self, dim: int, num_heads: int, *args, qkv_bias: bool, **options) -> None:
        super().__init__(dim, num_heads, *args, qkv_bias=False, **{**options, 'relative_bias': False, 'qk_scale': 1.0})
        self.pretrained_window = self.window
        self.logit_scale = nn.Parameter(torch.full((num_heads, 1, 1), math.log(FIRST_FACTOR)))
        self.cpb_mlp = PositionBias(num_heads)
        # The keys have none.
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None

    def mix_parameters(self) -> tuple[Tensor | None, ...]:
        """What :meth:`mix` takes besides q, k and v: their bias, the factor on cosines, the table of the position bias."""
        bias = None if self.q_bias is None else torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        factor = self.logit_scale.clamp(max=math.log(LARGEST_FACTOR)).exp()
        offsets = log_spaced_offsets(self.window, self.pretrained_window, self.logit_scale)
        return bias, factor, self.cpb_mlp(offsets)

    def mix(self, qkv: Tensor, bias: Tensor | None, factor: Tensor, table: Tensor) -> Tensor:
        """What stands between the two projections: ``B x H x W x 3C`` to ``B x H x W x C``.

        A padded token is a zero before the bias: its key is the zero vector, at a right angle to all queries.
        """
        padding = None if bias is None else self._with_cosines(bias, None, factor)
        return super().mix(self._with_cosines(qkv, bias, factor), padding, table)

    def _with_cosines(self, qkv: Tensor, bias: Tensor | None, factor: Tensor) -> Tensor:
        """``... x 3C`` with queries and keys such that their products are the scores of equation 2 without its bias."""
        q, k, v = (qkv if bias is None else qkv + bias).unflatten(-1, (3, self.num_heads, -1)).unbind(-3)
        eps = max(1e-12, torch.finfo(q.dtype).tiny)  # in float16, 1e-12 is 0, and padded tokens have keys of length 0
        q, k = F.normalize(q, dim=-1, eps=eps) * factor[:, 0], F.normalize(k, dim=-1, eps=eps)
        return torch.stack([q, k, v.to(q.dtype)], dim=-3).flatten(-3).to(qkv.dtype)


class SwinBlockV2(SwinBlock):
    """x + norm(attention(x)), then x + norm(MLP(x)) (paper, figure 1), each branch under stochastic depth."""

    attention = WindowAttentionV2
    norm_after = True

    def forward(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to the same."""
        x = x + drop_path(self.norm1(self.attn(x)), self.drop_path, self.training)
        return x + drop_path(self.norm2(self.mlp(x)), self.drop_path, self.training)


class PatchMergingV2(PatchMerging):
    """Concatenate 2x2 neighbours, halve the width and normalise: ``4C`` to ``2C`` (authors' code)."""

    norm_after = True

    def __init__(self, dim: int, stride: int, norm_cfg: dict | None) -> None:
        super().__init__(dim, stride, None)
        if norm_cfg is not None:
            self.norm = arguments.build_norm(norm_cfg, 2 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to ``B x ceil(H / stride) x ceil(W / stride) x 2C``; odd sides are zero-padded."""
        x = self.reduction(neighbours(x, self.stride))
        return self.norm(x) if hasattr(self, 'norm') else x


execution.register(PositionBias, WindowAttentionV2, SwinBlockV2, PatchMergingV2)


@MODELS.register_module()
class SwinTransformerV2(SwinTransformer):
    """Swin Transformer V2 backbone: the arguments of :class:`mmswin.SwinTransformer`, by keyword, with two differences.

    Args:
        window_size: Window side in tokens, (rows, columns), or a list of one for each stage.
        pretrained_window_sizes: The windows of the network that the weights come from, in the same form: offsets are
            measured in them (paper, equation 4). A classifier's windows shrink to its maps, so that the authors' files
            for windows of 16 on images of 256 want (16, 16, 16, 8). None for weights of the same windows. A file that
            says other windows than these is refused, and the message has them.
        swin: The other arguments of :class:`mmswin.SwinTransformer`, save qk_scale, use_rel_pos_bias and
            use_content_term.

    Raises:
        ValueError: Arguments that are out of range or do not fit together.
    """

    block, merging = SwinBlockV2, PatchMergingV2

    def __init__(
        self,
        *,
        window_size: int | Sequence[int | tuple[int, int]] = 8,
        pretrained_window_sizes: int | Sequence[int | tuple[int, int]] | None = None,
        **swin,
    ) -> None:
        fixed = ('qk_scale', 'use_rel_pos_bias', 'use_content_term')
        arguments.refuse(swin, fixed, 'is no argument of SwinTransformerV2, whose scores are cosines with a bias')
        super().__init__(window_size=window_size, **swin)
        if pretrained_window_sizes is not None:
            windows = arguments.stage_windows('pretrained_window_sizes', pretrained_window_sizes, len(self.depths))
            for layer, window in zip(self.layers, windows):
                for block in layer.blocks:
                    block.attn.pretrained_window = window

    def _init_own(self) -> None:
        super()._init_own()
        for module in self.modules():
            if isinstance(module, SwinBlockV2):  # branches start at nothing (authors' code)
                for norm in (module.norm1, module.norm2):
                    if getattr(norm, 'weight', None) is not None:
                        nn.init.zeros_(norm.weight)
            elif isinstance(module, WindowAttentionV2):
                nn.init.constant_(module.logit_scale, math.log(FIRST_FACTOR))
                for bias in (module.q_bias, module.v_bias):
                    if bias is not None:
                        nn.init.zeros_(bias)
