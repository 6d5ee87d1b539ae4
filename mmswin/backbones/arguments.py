"""Checks and defaults of the backbones' arguments, and the layers that configs name."""

import math
import warnings
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import torch
from torch import nn

from mmswin.checkpoints.resize import CHANNEL_POLICIES
from mmswin.ops.execution import SELECTIVE


class ArgumentError(ValueError, AssertionError):
    """An argument of a backbone is out of range; AssertionError is what mmdet's and mmseg's classes raise."""


ALIASES = {'t': 'tiny', 's': 'small', 'b': 'base', 'l': 'large'}


def _is_int(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def positive_pair(name: str, value: object) -> tuple[int, int]:
    """(rows, columns) from one positive integer or two.

    Raises:
        ValueError: Anything else.
    """
    pair = (value, value) if _is_int(value) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(pair) == 1:
        pair *= 2
    if len(pair) != 2 or not all(_is_int(side) and side > 0 for side in pair):
        raise ArgumentError(f'{name}={value!r} must be a positive integer or a pair of them (rows, columns)')
    return int(pair[0]), int(pair[1])


def stage_windows(name: str, value: object, stages: int) -> tuple[tuple[int, int], ...]:
    """(rows, columns) for each stage, from one window for all or from a list of one for each.

    Two integers are rows and columns, also in a network of two stages.

    Raises:
        ValueError: Neither a window (a positive integer or a pair of them) nor a list of as many as there are stages.
    """
    listed = isinstance(value, (list, tuple)) and len(value) == stages
    if listed and (stages != 2 or not all(map(_is_int, value))):
        return tuple(positive_pair(f'{name}[{i}]', window) for i, window in enumerate(value))
    return (positive_pair(name, value),) * stages


def refuse(given: Iterable[str], names: Iterable[str], why: str) -> None:
    """Refuse arguments of SwinTransformer that a relative of it does not have.

    Raises:
        ValueError: One of ``names`` is given.
    """
    wrong = sorted(set(given) & set(names))
    if wrong:
        raise ArgumentError(f'{wrong[0]} {why}: leave it out')


def _positive_ints(name: str, values: object) -> tuple[int, ...]:
    if not isinstance(values, (list, tuple)) or not values or not all(_is_int(v) and v > 0 for v in values):
        raise ArgumentError(f'{name}={values!r} must be a sequence of positive integers, one for each stage')
    return tuple(int(v) for v in values)


def positive_int(name: str, value: object) -> int:
    """The value itself.

    Raises:
        ValueError: It is no positive integer.
    """
    if not _is_int(value) or value < 1:
        raise ArgumentError(f'{name}={value!r} must be a positive integer')
    return int(value)


def checkpointing(value: object, stages: int) -> tuple[bool | str, ...]:
    """``with_cp`` of each stage, from one for all or a sequence.

    Raises:
        ValueError: Anything else than a bool, 'selective', or a list of these, one for each stage.
    """
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,) * stages
    if len(values) != stages or not all(v == SELECTIVE or isinstance(v, Integral) and v in (0, 1) for v in values):
        raise ArgumentError(
            f"with_cp={value!r} must be True, False, 'selective', or a list of one for each of the {stages} stages"
        )
    return tuple(v if v == SELECTIVE else bool(v) for v in values)


class SwinArguments(NamedTuple):
    """What the arguments of SwinTransformer say, checked, with defaults filled in and pairs made of single numbers."""

    depths: tuple[int, ...]
    num_heads: tuple[int, ...]
    num_features: list[int]
    windows: tuple[tuple[int, int], ...]
    patch_size: tuple[int, int]
    position_grid: tuple[int, int]
    out_indices: tuple[int, ...]
    frozen_stages: int
    with_cp: tuple[bool | str, ...]
    drop_paths: list[list[float]]
    shift_windows: bool
    attention_options: dict[str, Any]
    norm_cfg: dict
    act_cfg: dict
    init_cfg: dict | list[dict] | None
    in_channels_policy: str
    allow_other_depths: bool

    def attention(self, stage: int, block: int) -> dict[str, Any]:
        """Arguments of the attention of a block: every second one has shifted windows (paper, section 3.2)."""
        rows, columns = window = self.windows[stage]
        shift = (rows // 2, columns // 2) if self.shift_windows and block % 2 else (0, 0)
        return dict(num_heads=self.num_heads[stage], window=window, shift=shift, **self.attention_options)


def resolve_swin(variants: dict[str, dict], given: dict[str, Any]) -> SwinArguments:
    """Check the arguments of SwinTransformer and fill in defaults.

    Args:
        variants: The variant table.
        given: All arguments by name; other names are passed over.

    Raises:
        ValueError: Arguments that are out of range or do not fit together.
    """
    embed_dims, depths, num_heads = _resolve_variant(variants, given)
    strides, patch_size, num_stages = given['strides'], given['patch_size'], len(depths)
    _check_structure(embed_dims, depths, num_heads, given)
    check_rates(**{name: given[name] for name in ('drop_rate', 'attn_drop_rate', 'drop_path_rate')})
    patch = positive_pair('patch_size', patch_size)
    if positive_pair('strides[0]', strides[0]) != patch:
        raise ArgumentError(
            f'strides[0]={strides[0]} must equal patch_size={patch_size}: patches do not overlap; set both alike'
        )
    rates = torch.linspace(0, given['drop_path_rate'], sum(depths), device='cpu').tolist()
    return SwinArguments(
        depths=depths,
        num_heads=num_heads,
        num_features=[embed_dims * 2**i for i in range(num_stages)],
        windows=stage_windows('window_size', given['window_size'], num_stages),
        patch_size=patch,
        position_grid=patch_grid(given['pretrain_img_size'], patch),
        out_indices=resolve_out_indices(given['out_indices'], num_stages),
        frozen_stages=check_frozen_stages(given['frozen_stages'], num_stages),
        with_cp=checkpointing(given['with_cp'], num_stages),
        drop_paths=[rates[sum(depths[:i]) : sum(depths[: i + 1])] for i in range(num_stages)],
        shift_windows=given['shift_windows'],
        attention_options=dict(
            qkv_bias=given['qkv_bias'],
            qk_scale=_resolve_content_term(given),
            attn_drop=given['attn_drop_rate'],
            relative_bias=given['use_rel_pos_bias'],
            backend=given['attn_backend'],
            shift_small_maps=given['shift_small_maps'],
        ),
        norm_cfg=given['norm_cfg'] or dict(type='LN'),
        act_cfg=given['act_cfg'] or dict(type='GELU'),
        init_cfg=_merge_pretrained(given['pretrained'], given['init_cfg']),
        in_channels_policy=one_of('in_channels_policy', given['in_channels_policy'], CHANNEL_POLICIES),
        allow_other_depths=bool(given['allow_other_depths']),
    )


def one_of(name: str, value: object, known: Iterable[str]) -> str:
    """The value itself.

    Raises:
        ValueError: It is none of ``known``.
    """
    known = list(known)
    if str(value) not in known:
        raise ArgumentError(f'{name}={value!r} is unknown; choose one of {str(known)[1:-1]}')
    return str(value)


def _resolve_variant(variants: dict[str, dict], given: dict[str, Any]) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """(embed_dims, depths, num_heads), those not given taken from the variant, by default the first."""
    arch = next(iter(variants)) if given['arch'] is None else ALIASES.get(str(given['arch']), given['arch'])
    values = dict(variants[one_of('arch', arch, variants)])
    values.update({name: given[name] for name in values if given[name] is not None})
    embed_dims = positive_int('embed_dims', values['embed_dims'])
    return embed_dims, _positive_ints('depths', values['depths']), _positive_ints('num_heads', values['num_heads'])


def check_mlp(embed_dims: int, mlp_ratio: float) -> None:
    """Check that an MLP has a hidden channel.

    Raises:
        ValueError: It has none, or endlessly many.
    """
    if not isinstance(mlp_ratio, Real) or not 1 <= embed_dims * mlp_ratio < math.inf:
        raise ArgumentError(f'mlp_ratio={mlp_ratio!r} must be a positive number')


def _check_structure(
    embed_dims: int, depths: tuple[int, ...], num_heads: tuple[int, ...], given: dict[str, Any]
) -> None:
    """Check what must fit together."""
    strides = given['strides']
    if len(num_heads) != len(depths):
        raise ArgumentError(
            f'num_heads={num_heads} has {len(num_heads)} stages, depths={depths} has {len(depths)}: give one number '
            'for each stage in both'
        )
    if not isinstance(strides, (list, tuple)) or len(strides) != len(depths):
        raise ArgumentError(
            f"strides={strides!r} must have {len(depths)} entries as depths={depths} has: the patch embedding's, then "
            'one for each patch merging'
        )
    _positive_ints('strides[1:]', list(strides[1:]) or [1])
    for i, heads in enumerate(num_heads):
        if embed_dims * 2**i % heads:
            raise ArgumentError(
                f'num_heads[{i}]={heads} does not divide the width of stage {i}, {embed_dims * 2**i} '
                f'(embed_dims={embed_dims} doubled at each stage)'
            )
    check_mlp(embed_dims, given['mlp_ratio'])
    positive_int('in_channels', given['in_channels'])


def check_plain_structure(embed_dims: int, patch_size: int, num_heads: int, mlp_ratio: float, in_channels: int) -> None:
    """Check what must fit together in a plain transformer with a pyramid.

    Raises:
        ValueError: The heads do not divide the width, the patch is no power of two, or a number is out of range.
    """
    if embed_dims % num_heads:
        raise ArgumentError(f'num_heads={num_heads} does not divide embed_dims={embed_dims}')
    if patch_size < 4 or patch_size & (patch_size - 1):
        raise ArgumentError(f'patch_size={patch_size} must be a power of two from 4 on: 8, 16, 32')
    check_mlp(embed_dims, mlp_ratio)
    positive_int('in_channels', in_channels)


def patch_grid(pretrain_img_size: object, patch: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of whole patches in an image.

    Raises:
        ValueError: There is none, or the size is no positive integer or pair of them.
    """
    height, width = positive_pair('pretrain_img_size', pretrain_img_size)
    if height < patch[0] or width < patch[1]:
        raise ArgumentError(
            f'pretrain_img_size={pretrain_img_size!r} must cover at least one patch of {patch[0]} x {patch[1]} pixels'
        )
    return height // patch[0], width // patch[1]


def check_rates(**rates: float) -> None:
    """Check that each rate is a probability.

    Raises:
        ValueError: One is not.
    """
    for name, rate in rates.items():
        if not isinstance(rate, Real) or not 0 <= rate <= 1:
            raise ArgumentError(f'{name}={rate!r} must be a probability between 0 and 1')


def _resolve_content_term(given: dict[str, Any]) -> float | None:
    """The factor on Q K^T: 0 where attention goes by position alone."""
    if given['use_content_term']:
        return given['qk_scale']
    if not given['use_rel_pos_bias']:
        raise ArgumentError(
            'use_content_term=False with use_rel_pos_bias=False leaves attention nothing to go by, every token the '
            'same weight: keep one of the two terms'
        )
    if given['qk_scale'] is not None:
        raise ArgumentError(f'qk_scale={given["qk_scale"]!r} has no effect with use_content_term=False: leave it out')
    return 0.0


def resolve_out_indices(out_indices: Sequence[int], num_stages: int) -> tuple[int, ...]:
    """Stages to return as indices from 0, in the order asked for.

    Raises:
        ValueError: None, one out of range, or one twice.
    """
    given = (out_indices,) if _is_int(out_indices) else out_indices
    if not isinstance(given, (list, tuple)) or not given or not all(_is_int(i) for i in given):
        raise ArgumentError(f'out_indices={out_indices!r} must be a non-empty sequence of stage indices')
    if not all(-num_stages <= i < num_stages for i in given):
        raise ArgumentError(
            f'out_indices={out_indices!r}: with {num_stages} stages an index lies between {-num_stages} and '
            f'{num_stages - 1}'
        )
    resolved = tuple(int(i) % num_stages for i in given)
    if len(set(resolved)) != len(resolved):
        raise ArgumentError(f'out_indices={out_indices!r} names a stage twice')
    return resolved


def check_frozen_stages(frozen_stages: int, num_stages: int) -> int:
    """Check the number of frozen stages.

    Raises:
        ValueError: It is no integer between -1 and ``num_stages``.
    """
    if not _is_int(frozen_stages) or not -1 <= frozen_stages <= num_stages:
        raise ArgumentError(
            f'frozen_stages={frozen_stages!r} must be an integer between -1 (nothing frozen) and {num_stages} (all '
            'stages; 0 is the patch embedding alone)'
        )
    return int(frozen_stages)


def _merge_pretrained(pretrained: str | None, init_cfg: dict | list[dict] | None) -> dict | list[dict] | None:
    """The ``init_cfg`` that ``pretrained`` stands for, or ``init_cfg`` itself."""
    if pretrained is None:
        return init_cfg
    if not isinstance(pretrained, str):
        raise TypeError(f'pretrained={pretrained!r} must be a path or URL')
    if init_cfg:
        raise ArgumentError(f'give either pretrained={pretrained!r} or init_cfg={init_cfg!r}, not both')
    message = "'pretrained' is the old spelling of init_cfg=dict(type='Pretrained', checkpoint=...)"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
    return dict(type='Pretrained', checkpoint=pretrained)


def _with_mmcv(kind: str, cfg: dict):
    if not isinstance(cfg, dict) or 'type' not in cfg:
        example = {'norm_cfg': 'LN', 'act_cfg': 'GELU'}[kind]
        raise ArgumentError(f'{kind}={cfg!r} must be a dict with a type, such as dict(type={example!r})')
    try:
        from mmcv import cnn
    except ImportError as error:
        raise ImportError(f'{kind} {cfg["type"]!r} comes from mmcv, which cannot be imported: {error}') from error
    return cnn


def build_norm(cfg: dict, dim: int) -> nn.Module:
    """The normalisation that a config names, over ``dim`` channels in the last axis.

    ``LN`` takes nn.LayerNorm's arguments and ``requires_grad``; other types come from mmcv's registry.

    Raises:
        ValueError: It is no dict with a type.
    """
    if not isinstance(cfg, dict) or cfg.get('type') != 'LN':
        return _with_mmcv('norm_cfg', cfg).build_norm_layer(cfg, dim)[1]
    kwargs = {key: value for key, value in cfg.items() if key not in ('type', 'requires_grad')}
    return nn.LayerNorm(dim, **kwargs).requires_grad_(cfg.get('requires_grad', True))


def build_activation(cfg: dict) -> nn.Module:
    """The activation that a config names: ``GELU`` (exact by default), others from mmcv's registry."""
    if not isinstance(cfg, dict) or cfg.get('type') != 'GELU':
        return _with_mmcv('act_cfg', cfg).build_activation_layer(cfg)
    return nn.GELU(**{key: value for key, value in cfg.items() if key != 'type'})
