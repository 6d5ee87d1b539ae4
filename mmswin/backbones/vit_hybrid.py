"""Vision transformer over the map of a ResNet (Dosovitskiy et al., arXiv 2010.11929, "hybrid architecture"; R50 + ViT-B/16).

The ResNet is that of BiT (Kolesnikov et al., arXiv 1912.11370) with norms behind convolutions: weights standardised, group
norms, padding as TensorFlow's "SAME". It has no fourth stage, and nine blocks in the third. Parameters bear timm's names.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmswin.backbones import arguments
from mmswin.backbones.base import contiguous
from mmswin.backbones.vit_pyramid import ViTPyramid
from mmswin.ops.windows import is_recording
from mmswin.registry import MODELS

VARIANTS = {'r50-vit-base-patch16': dict(embed_dims=768, depth=12, num_heads=12, patch_size=16)}
# Blocks and widths of the ResNet's stages, at strides 4, 8 and 16.
DEPTHS, WIDTHS = (3, 4, 9), (256, 512, 1024)
STEM_WIDTH, GROUPS = 64, 32


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad the last two axes so that ``ceil(side / stride)`` places are left; what is odd goes to the bottom and right."""
    missing = [torch.sym_max(0, (side - 1) // stride * stride + kernel - side) for side in x.shape[-2:]]
    (top, bottom), (left, right) = ((total // 2, total - total // 2) for total in missing)
    return F.pad(x, (left, right, top, bottom), value=value) if is_recording() or any(missing) else x


class StdConv2d(nn.Conv2d):
    """A convolution whose filters are standardised first, to mean 0 and variance 1 each (arXiv 1903.10520)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``B x in x H x W`` to ``B x out x ceil(H / stride) x ceil(W / stride)``."""
        weight = F.layer_norm(self.weight, self.weight.shape[1:], eps=1e-8)
        return F.conv2d(pad_same(x, self.kernel_size[0], self.stride[0]), weight, None, self.stride)


class Stem(nn.Module):
    """7x7 convolution and 3x3 maximum, each with stride 2."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = StdConv2d(in_channels, STEM_WIDTH, 7, 2)
        self.norm = nn.GroupNorm(GROUPS, STEM_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """``B x in_channels x H x W`` to ``B x 64 x ceil(H / 4) x ceil(W / 4)``."""
        x = F.relu(self.norm(self.conv(x)))
        return F.max_pool2d(pad_same(x, 3, 2, -float('inf')), 3, 2)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride) and 1x1 convolution, each normalised, beside the shortcut."""

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        inner = width // 4
        self.conv1, self.norm1 = StdConv2d(in_channels, inner, 1), nn.GroupNorm(GROUPS, inner)
        self.conv2, self.norm2 = StdConv2d(inner, inner, 3, stride), nn.GroupNorm(GROUPS, inner)
        self.conv3, self.norm3 = StdConv2d(inner, width, 1), nn.GroupNorm(GROUPS, width)
        self.downsample = nn.Identity()
        if in_channels != width:  # the shortcut where width or stride change
            shortcut = OrderedDict(conv=StdConv2d(in_channels, width, 1, stride), norm=nn.GroupNorm(GROUPS, width))
            self.downsample = nn.Sequential(shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """``B x in x H x W`` to ``B x width x ceil(H / stride) x ceil(W / stride)``."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(self.norm3(self.conv3(y)) + self.downsample(x))


class Stage(nn.Sequential):
    """Blocks of one width, the first of them with the stride."""

    def __init__(self, in_channels: int, width: int, depth: int, stride: int) -> None:
        blocks = (Bottleneck(width if i else in_channels, width, 1 if i else stride) for i in range(depth))
        super().__init__(OrderedDict(blocks=nn.Sequential(*blocks)))


class ResNetV2(nn.Module):
    """Stem and three stages."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = Stem(in_channels)
        self.stages = nn.ModuleList(
            Stage(before, width, depth, 2 if i else 1)
            for i, (before, width, depth) in enumerate(zip((STEM_WIDTH, *WIDTHS), WIDTHS, DEPTHS))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """The three maps, at strides 4, 8 and 16."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps[1:]


class HybridEmbed(nn.Module):
    """The ResNet's maps, the last projected to the transformer's width."""

    def __init__(self, in_channels: int, dim: int) -> None:
        super().__init__()
        self.backbone = ResNetV2(in_channels)
        self.proj = nn.Conv2d(WIDTHS[-1], dim, kernel_size=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The maps at strides 4 and 8, ``B x C x H x W``, and the patches, ``B x H x W x C``."""
        first, second, last = self.backbone(x)
        return first, second, self.proj(last).permute(0, 2, 3, 1)


@MODELS.register_module()
class ViTHybrid(ViTPyramid):
    """R50 + ViT-B/16 for dense prediction: the arguments of :class:`mmswin.ViTPyramid`, by keyword.

    The maps at strides 4 and 8 are the ResNet's, 256 and 512 wide; that at stride 16 is the transformer's, that at stride
    32 the maximum over 2x2 places of it. Nothing is added to the classifier: timm's files fill all parameters.

    Args:
        arch: Variant: 'r50-vit-base-patch16' alone.
        vit: The other arguments of :class:`mmswin.ViTPyramid`, save patch_size, which is 16.

    Attributes:
        num_features: Width of each of the four maps, returned or not.
    """

    variants = VARIANTS

    def __init__(self, *, arch: str = 'r50-vit-base-patch16', **vit) -> None:
        arguments.refuse(vit, ('patch_size',), 'is no argument of ViTHybrid, whose patches have 16 pixels')
        super().__init__(arch=arch, **vit, patch_size=16)
        self.num_features = [*WIDTHS[:2], *self.num_features[2:]]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of an image batch.

        Args:
            x: ``B x in_channels x H x W``, H and W at least 1 pixel.

        Returns:
            For each of ``out_indices``, in that order, ``B x num_features[i] x ceil(H / s) x ceil(W / s)`` with the
            stride s of that map.
        """
        first, second, patches = self.patch_embed(x)
        maps = {0: first, 1: second}
        if self.pyramid:
            x = self._transformed(patches)
            maps |= {i: level(x) for i, level in zip(self._own_levels(), self.pyramid)}
        return tuple(contiguous(maps[i]) for i in self.out_indices)

    def _build_embedding(self, in_channels: int, dim: int, patch: int) -> nn.Module:
        return HybridEmbed(in_channels, dim)

    def _own_levels(self) -> Sequence[int]:
        return [i for i in self.out_indices if i > 1]
