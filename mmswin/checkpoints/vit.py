"""Weights for a plain vision transformer: files of the authors of DeiT, DeiT III and MAE, of timm and mmpretrain, and own.

What differs is how the parts are called, where the weights lie, what else is there, and the grid of the position embedding.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmswin.checkpoints import convert, resize
from mmswin.checkpoints.formats import VIT_FORMATS
from mmswin.checkpoints.naming import rename
from mmswin.checkpoints.report import LoadReport, cause_of, match
from mmswin.errors import CheckpointError

PATCH_WEIGHT = 'patch_embed.proj.weight'
# Of a classifier or of its training, and of no use to dense prediction: the second token of distilled DeiTs, MAE's decoder.
UNUSED = ('head.', 'head_dist.', 'fc_norm.', 'pre_logits.', 'dist_token', 'mask_token', 'decoder_')
# What a classifier's file cannot hold.
ADDED = 'pyramid.'


class Structure(NamedTuple):
    """What a ViT's tensors say of its structure; the number of heads they do not tell."""

    embed_dims: int
    depth: int
    patch_size: int


def structure_of(tensors: Mapping[str, Tensor]) -> Structure:
    """Read the structure off tensors."""
    blocks = {int(match[1]) for match in (re.match(r'blocks\.([0-9]{1,4})\.', name) for name in tensors) if match}
    width, _, patch, _ = tensors[PATCH_WEIGHT].shape
    return Structure(width, len(blocks), patch)


def _fit_positions(embedding: Tensor, extra: int, own: Tensor, grid: tuple[int, int]) -> Tensor:
    """A file's position embedding for the backbone: one class token, then ``grid``.

    Args:
        embedding: ``1 x (extra + patches) x C``, or over the patches alone, as DeiT III has it.
        extra: Tokens in front of the patches: none, the class token, or also the distillation token.
        own: What the backbone has; gives the class token its position where the file has none.
        grid: Rows and columns of patches wanted.
    """

    def covers(count: int) -> bool:
        return count == grid[0] * grid[1] or (count > 0 and math.isqrt(count) ** 2 == count)

    count = embedding.shape[1] if embedding.dim() == 3 and embedding.shape[::2] == own.shape[::2] else 0
    if not covers(count - extra) and not covers(count):
        return embedding  # to be reported as of another shape
    first = embedding[:, :1] if extra else own[:, :1].to(embedding)
    if not covers(count - extra):  # the class token has no position: its own is 0
        first, extra = torch.zeros_like(first), 0
    patches = embedding[:, extra:]
    patches = resize.resize_position_embedding(patches, grid).flatten(2).transpose(1, 2)
    return torch.cat([first, patches], dim=1)


def fit(module: nn.Module, part: Mapping[str, Any], report: LoadReport) -> dict[str, Tensor]:
    """What a ViT can load of its part of a state dict, with what finds no place, which torch reports itself.

    Raises:
        CheckpointError: The part is for another network.
    """
    located = convert.locate(part, VIT_FORMATS)
    if located is None:
        raise CheckpointError(convert.unknown(part, 'plain vision transformer'))
    form, prefix = located
    names = {name: rename(name.removeprefix(prefix), form.templates) for name in part if name.startswith(prefix)}
    averaged = 'norm.weight' not in names.values()
    tensors: dict[str, Tensor] = {}
    for name, tensor in part.items():
        ours = names.get(name, '')
        ours = ours.replace('fc_norm.', 'norm.', 1) if averaged else ours
        if not ours or ours.startswith(UNUSED) or not isinstance(tensor, Tensor):
            report.unused.append(name)
        else:
            tensors[ours] = tensor
    patch = tensors.get(PATCH_WEIGHT)
    if patch is None or patch.dim() != 4:
        shape = 'no tensor' if patch is None else f'of shape {tuple(patch.shape)}'
        raise CheckpointError(f'the weights are of no network of images: their patch projection is {shape}')
    report.format, report.prefix = form.name, prefix
    extra = ('cls_token' in tensors) + (prefix + 'dist_token' in part)

    def fitted(name: str, tensor: Tensor, wanted: Tensor) -> tuple[Tensor, str]:
        if name != 'pos_embed':
            return tensor, ''
        value = _fit_positions(tensor, extra, wanted, module.grid)
        same = value.shape == tensor.shape
        return value, '' if same else f'position embedding of {tensor.shape[1]} tokens to {value.shape[1]}'

    def cause(misfits: list[str]) -> str:
        if any('.ls1.' in name for name in report.unexpected):
            return 'its branches have factors for each channel: set layer_scale_init_value=1e-6'
        return cause_of(structure_of(tensors), structure_of(module.state_dict()), module.variants, misfits)

    return match(module, tensors, report, cause, lambda name: name.startswith(ADDED), fit=fitted)
