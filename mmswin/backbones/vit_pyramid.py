"""Plain vision transformer with a pyramid on top, the peer of Swin in the paper's tables 2b and 3, read top to bottom.

Dosovitskiy et al., arXiv 2010.11929 (ViT); Touvron et al., arXiv 2012.12877 (DeiT). Every block attends over the whole
image, so that the cost grows with the square of the number of pixels. Parameters bear the names that DeiT's authors
and timm use; their files, MAE's and mmpretrain's load as they are.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from mmswin.backbones import arguments
from mmswin.backbones.base import Backbone, channels_first, contiguous, drop_path, fit_position_embedding
from mmswin.backbones.swin import Mlp, PatchEmbed
from mmswin.checkpoints import vit
from mmswin.checkpoints.report import LoadReport, replace_part
from mmswin.ops import execution
from mmswin.ops.windows import is_recording
from mmswin.registry import MODELS

VARIANTS = {
    'deit-tiny': dict(embed_dims=192, depth=12, num_heads=3, patch_size=16),
    'deit-small': dict(embed_dims=384, depth=12, num_heads=6, patch_size=16),
    'vit-base-patch16': dict(embed_dims=768, depth=12, num_heads=12, patch_size=16),
    'vit-base-patch32': dict(embed_dims=768, depth=12, num_heads=12, patch_size=32),
}
# Of the maps that a detector or a segmentation head takes, the same as Swin's.
STRIDES = (4, 8, 16, 32)


class Attention(nn.Module):
    """Multi-head self-attention over all tokens."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool, attn_drop: float, proj_drop: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """``B x N x C`` to the same."""
        return self.proj_drop(self.proj(self.mix(self.qkv(x))))

    def mix_parameters(self) -> tuple[()]:
        """What :meth:`mix` takes besides q, k and v."""
        return ()

    def mix(self, qkv: Tensor) -> Tensor:
        """What stands between the two projections: ``B x N x 3C`` to ``B x N x C``."""
        q, k, v = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_drop if self.training else 0.0)
        return x.transpose(1, 2).flatten(2)


class LayerScale(nn.Module):
    """A learned factor for each channel of a branch (Touvron et al., arXiv 2103.17239), which DeiT III has; 0 for none."""

    def __init__(self, dim: int, init_value: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init_value)) if init_value else None

    def forward(self, x: Tensor) -> Tensor:
        """``... x C`` to the same."""
        return x if self.gamma is None else x * self.gamma


class Block(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)), each branch perhaps scaled, and under stochastic depth."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path_rate: float,
        act_cfg: dict,
        norm_cfg: dict,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        layer_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.drop_path = drop_path_rate
        self.ls1, self.ls2 = LayerScale(dim, layer_scale), LayerScale(dim, layer_scale)
        self.norm1 = arguments.build_norm(norm_cfg, dim)
        self.attn = Attention(dim, num_heads, qkv_bias, attn_drop, drop)
        self.norm2 = arguments.build_norm(norm_cfg, dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_cfg, drop)

    def forward(self, x: Tensor) -> Tensor:
        """``B x N x C`` to the same."""
        x = x + drop_path(self.ls1(self.attn(self.norm1(x))), self.drop_path, self.training)
        return x + drop_path(self.ls2(self.mlp(self.norm2(x))), self.drop_path, self.training)


execution.register(Attention, Block, LayerScale)


class Upsample(nn.ConvTranspose2d):
    """Doubles the sides of a map with a 4x4 kernel for each channel, which starts as bilinear interpolation."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim, kernel_size=4, stride=2, padding=1, groups=dim)

    def init_bilinear(self) -> None:
        """Set the kernels to bilinear interpolation (zeros beyond the border), the bias to 0."""
        taps = torch.tensor([0.25, 0.75, 0.75, 0.25], device=self.weight.device, dtype=self.weight.dtype)
        with torch.no_grad():
            self.weight.copy_((taps[:, None] * taps).expand_as(self.weight))
            self.bias.zero_()


class MaxPool(nn.MaxPool2d):
    """The maximum over places, those at the bottom and the right being fewer where a side is no multiple."""

    def __init__(self, side: int) -> None:
        super().__init__(side, side, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to ``B x C x ceil(H / side) x ceil(W / side)``."""
        if not is_recording():
            return super().forward(x)
        # OpenVINO's own rounding up gives no place where a map is smaller than the kernel.
        bottom, right = ((size + self.stride - 1) // self.stride * self.stride - size for size in x.shape[2:])
        return F.max_pool2d(F.pad(x, (0, right, 0, bottom), value=-torch.inf), self.stride, self.stride)


def pyramid_level(dim: int, patch_size: int, stride: int) -> nn.Module:
    """The way from the transformer's map to the one at ``stride``: upsampling, or a maximum over places, or nothing."""
    factor = stride // patch_size
    if factor > 1:
        return MaxPool(factor)
    return nn.Sequential(*(Upsample(dim) for _ in range(int(math.log2(patch_size // stride)))))


@MODELS.register_module()
class ViTPyramid(Backbone):
    """Vision transformer whose single map becomes four, at strides 4, 8, 16 and 32, for FPN and UPerNet.

    The paper says of its DeiT-S that "deconvolution layers" construct "hierarchical feature maps", and no more; its
    parameters and FLOPs decide. Here every map has the width of the transformer, each transposed convolution works on
    single channels, and a maximum over 2x2 places makes the map of stride 32:

    ===========================  ====================  ====================
    DeiT-S                       published             here
    ===========================  ====================  ====================
    Cascade Mask R-CNN, COCO     80 M, 889 G           79.8 M, 889.1 G
    UPerNet, ADE20K              52 M, 1099 G          51.8 M, 1098.1 G
    ===========================  ====================  ====================

    Two other pyramids: transposed convolutions over all channels give 81.6 M and 903 G, 53.6 M and 1112 G, too many
    parameters; such that halve the width whenever they double a side 80.3 M and 887 G, 52.2 M and 1090 G.

    Args:
        pretrain_img_size: Image side (or (height, width)) in pixels that the position embedding covers; it is resized
            to the image at run time (bicubic), and so is that of a file for another size.
        in_channels: Channels of the image.
        embed_dims: Width C; the variant's by default.
        patch_size: Patch side in pixels, a power of two; the variant's by default.
        depth: Number of blocks; the variant's by default.
        num_heads: Heads of each block; the variant's by default.
        mlp_ratio: Hidden width of the MLP over its width.
        out_indices: Maps to return, in this order: 0 is the one at stride 4, 3 that at stride 32.
        qkv_bias: Whether q, k and v have a bias.
        drop_rate: Dropout after the embedding, the attention's projection and both MLP layers.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth of the last block; rises linearly from 0.
        act_cfg: The MLP's activation, GELU by default.
        norm_cfg: The normalisation, LayerNorm with eps 1e-6 by default.
        with_cp: What backward computes again instead of keeping it: ``'selective'`` norms, activations and attention,
            True whole blocks, False nothing.
        frozen_stages: -1 freezes nothing, 0 the patch embedding with position embedding and class token, n > 0 also
            the first n blocks. Frozen from construction.
        init_cfg: mmengine's initialisation, a dict or a list of dicts.
        layer_scale_init_value: What the factors of each channel of a branch start at; 0 (the default) for no factors.
            Files of DeiT III want some, whatever the value.
        arch: Variant, 'deit-tiny', 'deit-small' (the default), 'vit-base-patch16' or 'vit-base-patch32', which fills
            in embed_dims, patch_size, depth and num_heads where they are not given.

    Attributes:
        num_features: Width of each of the four maps, returned or not; all are alike.

    Raises:
        ValueError: Arguments that are out of range or do not fit together.
    """

    variants = VARIANTS

    def __init__(
        self,
        pretrain_img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        embed_dims: int | None = None,
        patch_size: int | None = None,
        depth: int | None = None,
        num_heads: int | None = None,
        mlp_ratio: float = 4,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        act_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool | str = 'selective',
        frozen_stages: int = -1,
        init_cfg: dict | list[dict] | None = None,
        *,
        layer_scale_init_value: float = 0.0,
        arch: str = 'deit-small',
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        given = dict(embed_dims=embed_dims, patch_size=patch_size, depth=depth, num_heads=num_heads)
        variant = dict(self.variants[arguments.one_of('arch', arch, self.variants)])
        variant.update({name: value for name, value in given.items() if value is not None})
        dim, patch, depth, heads = (arguments.positive_int(name, variant[name]) for name in given)
        arguments.check_plain_structure(dim, patch, heads, mlp_ratio, in_channels)
        arguments.check_rates(drop_rate=drop_rate, attn_drop_rate=attn_drop_rate, drop_path_rate=drop_path_rate)
        self.out_indices = arguments.resolve_out_indices(out_indices, len(STRIDES))
        self.frozen_stages = arguments.check_frozen_stages(frozen_stages, depth)
        self.num_features = [dim] * len(STRIDES)
        (self.with_cp,) = arguments.checkpointing(with_cp, 1)
        norm_cfg = norm_cfg or dict(type='LN', eps=1e-6)
        act_cfg = act_cfg or dict(type='GELU')

        self.patch_embed = self._build_embedding(in_channels, dim, patch)
        self.grid = arguments.patch_grid(pretrain_img_size, (patch, patch))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        # As in the files: the class token's, then the patches' row by row.
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim))
        self.pos_drop = nn.Dropout(drop_rate)
        rates = torch.linspace(0, drop_path_rate, depth, device='cpu').tolist()
        drops, scale = (drop_rate, attn_drop_rate), layer_scale_init_value
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio, rate, act_cfg, norm_cfg, qkv_bias, *drops, scale) for rate in rates
        )
        self.norm = arguments.build_norm(norm_cfg, dim)
        self.pyramid = nn.ModuleList(pyramid_level(dim, patch, STRIDES[i]) for i in self._own_levels())
        self._freeze()

    def _build_embedding(self, in_channels: int, dim: int, patch: int) -> nn.Module:
        return PatchEmbed(in_channels, dim, (patch, patch), norm_cfg=None)

    def _own_levels(self) -> Sequence[int]:
        """The maps that are made of the transformer's."""
        return self.out_indices

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of an image batch.

        Args:
            x: ``B x in_channels x H x W``, H and W at least 1 pixel.

        Returns:
            For each of ``out_indices``, in that order, ``B x num_features[i] x ceil(H / s) x ceil(W / s)`` with the
            stride s of that map.
        """
        sides = x.shape[2:]
        x = self._transformed(self.patch_embed(x))
        outs = []
        for i, level in zip(self.out_indices, self.pyramid):
            # A patch that only the padding fills up gives places beyond the image.
            rows, columns = ((side + STRIDES[i] - 1) // STRIDES[i] for side in sides)
            outs.append(contiguous(level(x)[:, :, :rows, :columns]))
        return tuple(outs)

    def _transformed(self, x: Tensor) -> Tensor:
        """The patches ``B x H x W x C`` after all blocks, ``B x C x H x W``."""
        height, width = x.shape[1:3]
        x = self.pos_drop(self._with_positions(x))
        for block in self.blocks:
            x = execution.run(block, x, self.with_cp)
        return channels_first(self.norm(x)[:, 1:].unflatten(1, (height, width)))

    def _with_positions(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to ``B x (1 + H W) x C``, the class token first."""
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        grid = rest.unflatten(1, self.grid).permute(0, 3, 1, 2)
        x = contiguous(x + fit_position_embedding(grid, x.shape[1], x.shape[2])).flatten(1, 2)
        return torch.cat([(self.cls_token + first).expand(x.shape[0], -1, -1), x], dim=1)

    def _init_own(self) -> None:
        trunc_normal_(self.pos_embed, std=0.02)
        trunc_normal_(self.cls_token, std=0.02)
        for module in self.pyramid.modules():
            if isinstance(module, Upsample):
                module.init_bilinear()

    def _frozen(self) -> list[nn.Module | nn.Parameter]:
        if self.frozen_stages < 0:
            return []
        return [self.patch_embed, self.pos_embed, self.cls_token, self.pos_drop, *self.blocks[: self.frozen_stages]]

    def _translate(self, state_dict: dict, prefix: str) -> LoadReport | None:
        return replace_part(self, state_dict, prefix, vit.fit)
