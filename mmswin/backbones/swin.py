"""Swin Transformer for dense prediction (Liu et al., arXiv 2103.14030), read top to bottom.

The reference is the authors' dense-prediction backbone, which mmdet and mmseg follow: see :mod:`mmswin.ops.windows`
for what that means on small and odd maps. Maps are ``B x H x W x C`` throughout and ``B x C x H x W`` at the output.
Parameters bear the authors' names, so that the released files load as they are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from mmswin.backbones import arguments
from mmswin.backbones.base import Backbone, channels_first, drop_path, fit_position_embedding, pad_to_multiple
from mmswin.checkpoints.loading import translate_classifier
from mmswin.ops import execution
from mmswin.ops.merging import neighbours
from mmswin.ops.window_attention import resolve_backend, window_attention
from mmswin.ops.windows import bias_table_rows, relative_position_bias
from mmswin.registry import MODELS

# What makes Swin-T differ from Swin-S (paper, section 3.3).
VARIANTS = {
    'tiny': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    'small': dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    'base': dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    'large': dict(embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}


class PatchEmbed(nn.Module):
    """Cut the image into patches and project each (paper, section 3.1).

    An image whose sides are no multiples of the patch is zero-padded at the bottom and right first.
    """

    def __init__(self, in_channels: int, dim: int, patch_size: tuple[int, int], norm_cfg: dict | None) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        if norm_cfg is not None:
            self.norm = arguments.build_norm(norm_cfg, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``B x 3 x H x W`` to ``B x ceil(H / patch) x ceil(W / patch) x C``."""
        x = self.proj(pad_to_multiple(x, *self.patch_size)).permute(0, 2, 3, 1)
        return self.norm(x) if hasattr(self, 'norm') else x


class PatchMerging(nn.Module):
    """Concatenate 2x2 neighbours, normalise and halve the width: ``4C`` to ``2C`` (paper, section 3.1).

    See :func:`mmswin.ops.merging.neighbours` for their order and for strides other than 2.
    """

    def __init__(self, dim: int, stride: int, norm_cfg: dict | None) -> None:
        super().__init__()
        self.stride = stride
        if norm_cfg is not None:
            self.norm = arguments.build_norm(norm_cfg, 4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to ``B x ceil(H / stride) x ceil(W / stride) x 2C``; odd sides are zero-padded."""
        x = neighbours(x, self.stride)
        return self.reduction(self.norm(x) if hasattr(self, 'norm') else x)


class WindowAttention(nn.Module):
    """(Shifted-)window multi-head self-attention with relative position bias (paper, section 3.2): its parameters."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window: tuple[int, int],
        shift: tuple[int, int],
        qkv_bias: bool,
        qk_scale: float | None,
        attn_drop: float,
        proj_drop: float,
        relative_bias: bool,
        backend: str,
        shift_small_maps: bool = True,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window, self.shift, self.shift_small_maps = window, shift, shift_small_maps
        self.scale = (dim // num_heads) ** -0.5 if qk_scale is None else qk_scale
        self.attn_drop, self.backend = attn_drop, backend
        self.attend = resolve_backend(backend, dim // num_heads, window)
        table = nn.Parameter(torch.zeros(bias_table_rows(window), num_heads)) if relative_bias else None
        self.register_parameter('relative_position_bias_table', table)
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to the same."""
        return self.proj_drop(self.proj(self.mix(self.qkv(x), *self.mix_parameters())))

    def mix_parameters(self) -> tuple[Tensor | None, Tensor | None]:
        """What :meth:`mix` takes besides q, k and v."""
        bias = self.qkv.bias
        return (bias() if callable(bias) else bias), self.relative_position_bias_table  # a method in quantised layers

    def mix(self, qkv: Tensor, pad_value: Tensor | None, table: Tensor | None) -> Tensor:
        """What stands between the two projections: ``B x H x W x 3C`` to ``B x H x W x C``."""
        return window_attention(
            qkv,
            None if table is None else relative_position_bias(table, self.window),
            self.window,
            self.shift,
            self.num_heads,
            self.scale,
            pad_value=pad_value,
            dropout=self.attn_drop if self.training else 0.0,
            backend=self.attend,
            shift_small_maps=self.shift_small_maps,
        )


class Mlp(nn.Module):
    """Linear, activation (exact GELU by default), linear."""

    def __init__(self, dim: int, hidden_dim: int, act_cfg: dict, drop: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = arguments.build_activation(act_cfg)
        self.fc2 = nn.Linear(hidden_dim, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """``... x C`` to the same."""
        return self.drop(self.fc2(self.drop(self.act(self.fc1(x)))))


class SwinBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)) (paper, equation 3), each branch under stochastic depth."""

    attention: type[WindowAttention] = WindowAttention

    def __init__(
        self, dim: int, mlp_ratio: float, drop: float, drop_path: float, act_cfg: dict, norm_cfg: dict, **attention
    ) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.norm1 = arguments.build_norm(norm_cfg, dim)
        self.attn = self.attention(dim, proj_drop=drop, **attention)
        self.norm2 = arguments.build_norm(norm_cfg, dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), act_cfg, drop)

    def forward(self, x: Tensor) -> Tensor:
        """``B x H x W x C`` to the same."""
        x = x + drop_path(self.attn(self.norm1(x)), self.drop_path, self.training)
        return x + drop_path(self.mlp(self.norm2(x)), self.drop_path, self.training)


class SwinStage(nn.Module):
    """Blocks with regular and shifted windows in turn, then patch merging unless the stage is the last one built."""

    def __init__(
        self, blocks: Sequence[SwinBlock], downsample: PatchMerging | None, with_cp: bool | str = 'selective'
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``B x H x W x C`` to (the same after the blocks, what the next stage takes)."""
        for block in self.blocks:
            x = execution.run(block, x, self.with_cp)
        return x, x if self.downsample is None else execution.run(self.downsample, x, self.with_cp)


execution.register(PatchMerging, WindowAttention, Mlp, SwinBlock)


@MODELS.register_module()
class SwinTransformer(Backbone):
    """Swin Transformer backbone with the arguments of mmdet's class, and a few more.

    Args:
        pretrain_img_size: Image side (or (height, width)) in pixels that the absolute position embedding covers.
        in_channels: Channels of the image.
        embed_dims: Width C of the first stage; the variant's by default.
        patch_size: Patch side in pixels.
        window_size: Window side in tokens, or (rows, columns); or a list of one for each stage.
        mlp_ratio: Hidden width of the MLP over its width.
        depths: Blocks of each stage; the variant's by default.
        num_heads: Heads of each stage; the variant's by default.
        strides: Stride of the patch embedding (equal to ``patch_size``), then of each patch merging.
        out_indices: Stages to return, in this order; negative ones count from the last. Deeper ones are not built.
        qkv_bias: Whether q, k and v have a bias.
        qk_scale: Factor on Q K^T; head width ** -0.5 by default.
        patch_norm: Whether patch embedding and merging normalise.
        drop_rate: Dropout after the embedding, the attention's projection and both MLP layers.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth of the last block; rises linearly from 0 over all blocks of the network.
        use_abs_pos_embed: Whether to add an absolute position embedding; resized to the image at run time.
        act_cfg: The MLP's activation.
        norm_cfg: The normalisation.
        with_cp: What backward computes again instead of keeping it: ``'selective'`` what is cheap (norms, activations,
            attention: half of the memory), True whole blocks, False nothing. A list says it for each stage.
        pretrained: Old way to write ``init_cfg=dict(type='Pretrained', checkpoint=...)``.
        convert_weights: Accepted and not needed: a checkpoint's format is recognised by its keys.
        frozen_stages: -1 freezes nothing, 0 the patch embedding, n > 0 also the first n stages with their norms.
        init_cfg: mmengine's initialisation, a dict or a list of dicts.
        arch: Variant, 'tiny' (default), 'small', 'base' or 'large': embed_dims, depths and num_heads if not given.
        shift_windows: False leaves out the shift (paper, table 4).
        shift_small_maps: False leaves it out on maps that are no larger than a window, as the authors' classifiers do.
        use_rel_pos_bias: False leaves out the relative position bias (paper, table 4).
        use_content_term: False multiplies Q K^T by 0: attention is softmax(bias) V (table 4, "rel. pos. w/o app.").
        attn_backend: Name of the attention backend, see :mod:`mmswin.ops.window_attention`.
        in_channels_policy: What filters of channels beyond a checkpoint's start from: 'zeros' (the output is at first
            that of the channels it knows), 'mean' of its filters, or 'repeat' them. For one channel they are summed.
        allow_other_depths: Load the blocks that a checkpoint of other depths has in common with the network; those that
            are new stay random, and the log names them. Without it at least 90 % of the tensors must match.

    Attributes:
        load_report: What the last load of weights did, a :class:`mmswin.checkpoints.LoadReport`; None before any.
        num_features: Width of every stage of the network, built or not.

    Raises:
        ValueError: Arguments that are out of range or do not fit together.
    """

    variants = VARIANTS
    block, merging = SwinBlock, PatchMerging  # a relative of Swin has its own
    _checkpoint_filter = staticmethod(translate_classifier)  # mmpretrain's classifiers have it see a file first

    def __init__(
        self,
        pretrain_img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        embed_dims: int | None = None,
        patch_size: int | tuple[int, int] = 4,
        window_size: int | Sequence[int | tuple[int, int]] = 7,
        mlp_ratio: float = 4,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        strides: Sequence[int] = (4, 2, 2, 2),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        with_cp: bool | str | Sequence[bool | str] = 'selective',
        pretrained: str | None = None,
        convert_weights: bool = False,
        frozen_stages: int = -1,
        init_cfg: dict | list[dict] | None = None,
        *,
        arch: str | None = None,
        shift_windows: bool = True,
        shift_small_maps: bool = True,
        use_rel_pos_bias: bool = True,
        use_content_term: bool = True,
        attn_backend: str = 'auto',
        in_channels_policy: str = 'zeros',
        allow_other_depths: bool = False,
    ) -> None:
        args = arguments.resolve_swin(self.variants, locals())
        super().__init__(init_cfg=args.init_cfg)
        self.out_indices, self.frozen_stages = args.out_indices, args.frozen_stages
        self.in_channels_policy, self.allow_other_depths = args.in_channels_policy, args.allow_other_depths
        self.depths, self.num_heads, self.num_features = args.depths, args.num_heads, args.num_features
        patch_norm_cfg = args.norm_cfg if patch_norm else None
        self.patch_embed = PatchEmbed(in_channels, args.num_features[0], args.patch_size, patch_norm_cfg)
        grid = (1, args.num_features[0], *args.position_grid)
        self.register_parameter('absolute_pos_embed', nn.Parameter(torch.zeros(grid)) if use_abs_pos_embed else None)
        self.pos_drop = nn.Dropout(drop_rate)
        last, self.layers = max(self.out_indices), nn.ModuleList()
        for i, dim in enumerate(self.num_features[: last + 1]):
            blocks = [
                self.block(dim, mlp_ratio, drop_rate, rate, args.act_cfg, args.norm_cfg, **args.attention(i, j))
                for j, rate in enumerate(args.drop_paths[i])
            ]
            merging = self.merging(dim, strides[i + 1], patch_norm_cfg) if i < last else None
            self.layers.append(SwinStage(blocks, merging, args.with_cp[i]))
        for i in sorted(self.out_indices):
            self.add_module(f'norm{i}', arguments.build_norm(args.norm_cfg, self.num_features[i]))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of an image batch.

        Args:
            x: ``B x in_channels x H x W``, H and W at least 1 pixel.

        Returns:
            For each of ``out_indices``, in that order, ``B x C_i x H_i x W_i`` with C_i = C * 2^i and, at the default
            strides, H_i = ceil(H / (4 * 2^i)).
        """
        return self._of_patches(self.patch_embed(x))

    def _of_patches(self, x: Tensor) -> tuple[Tensor, ...]:
        if self.absolute_pos_embed is not None:
            x = x + fit_position_embedding(self.absolute_pos_embed, x.shape[1], x.shape[2])
        x = self.pos_drop(x)
        outs = {}
        for i, layer in enumerate(self.layers):
            out, x = layer(x)
            if i in self.out_indices:
                outs[i] = channels_first(getattr(self, f'norm{i}')(out))
        return tuple(outs[i] for i in self.out_indices)

    def _init_own(self) -> None:
        tables = [m.relative_position_bias_table for m in self.modules() if isinstance(m, WindowAttention)]
        for parameter in (*tables, self.absolute_pos_embed):
            if parameter is not None:
                trunc_normal_(parameter, std=0.02)

    def _frozen(self) -> list[nn.Module | nn.Parameter]:
        if self.frozen_stages < 0:
            return []
        norms = [getattr(self, f'norm{i}') for i in self.out_indices if i < self.frozen_stages]
        position = [] if self.absolute_pos_embed is None else [self.absolute_pos_embed]
        return [self.patch_embed, *position, self.pos_drop, *self.layers[: self.frozen_stages], *norms]
