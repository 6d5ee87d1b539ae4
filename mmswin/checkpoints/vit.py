"""Weights for a plain vision transformer: files of the authors of DeiT, DeiT III and MAE, of timm and mmpretrain, and own.

What differs is how the parts are called, where the weights lie, what else is there, and the grid of the position embedding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mmswin.checkpoints import convert, resize
from mmswin.checkpoints.formats import VIT_FORMATS
from mmswin.checkpoints.naming import rename
from mmswin.checkpoints.report import LoadReport, check_match
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


def _locate(state_dict: Mapping[str, Any]) -> tuple[str, str]:
    """The prefix under which the ViT lies, the shortest where there are several, and its format.

    Raises:
        CheckpointError: There is none.
    """
    found = [
        (name.removesuffix(patch), form)
        for form, (patch, attention, _) in VIT_FORMATS.items()
        for name in state_dict
        if name.endswith(patch) and name.removesuffix(patch) + attention in state_dict
    ]
    found = [pair for pair in found if pair[0][-1:] in ('', '.')]
    if found:
        return min(found, key=lambda pair: len(pair[0]))
    try:
        what = f'a Swin ({convert.translate(state_dict).format.name} format)'
    except CheckpointError:
        what = convert.foreign_network(state_dict)
    if what:
        raise CheckpointError(f'the weights are {what}, not a plain vision transformer of a known format')
    content = f'{len(state_dict)} entries, the first is {next(iter(state_dict), None)!r}'
    raise CheckpointError(f'the weights are no plain vision transformer of a known format ({content})')


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

    count = embedding.shape[1]
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
    try:
        inner, report.format = _locate(part)
    except CheckpointError as error:
        raise CheckpointError(f'{report.source}: {error}') from None
    tensors: dict[str, Tensor] = {}
    names = {name: rename(name.removeprefix(inner), VIT_FORMATS[report.format][2]) for name in part}
    averaged = 'norm.weight' not in names.values()
    for name, tensor in part.items():
        bare = names[name].replace('fc_norm.', 'norm.', 1) if averaged else names[name]
        if not name.startswith(inner) or bare.startswith(UNUSED):
            report.unused.append(name)
        else:
            tensors[bare] = tensor
    if 'pos_embed' in tensors:
        extra = ('cls_token' in tensors) + (inner + 'dist_token' in part)
        fitted = _fit_positions(tensors['pos_embed'], extra, module.pos_embed.detach(), module.grid)
        if fitted.shape != tensors['pos_embed'].shape:
            report.resized.append('pos_embed')
            report.changes.append(f'position embedding of {tensors["pos_embed"].shape[1]} tokens to {fitted.shape[1]}')
        tensors['pos_embed'] = fitted
    loaded = _adapt(module, tensors, report)
    return loaded | {name: tensors[name] for name in report.unexpected}


def _adapt(module: nn.Module, tensors: dict[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """Sort the tensors into the report and return those to load."""
    wanted = module.state_dict()
    fitting = {n: t for n, t in tensors.items() if n in wanted and t.shape == wanted[n].shape}
    misfits = [
        f'{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}'
        for name, tensor in tensors.items()
        if name in wanted and name not in fitting
    ]
    report.unexpected = [n for n in tensors if n not in wanted]
    report.missing = [n for n in wanted if n not in fitting]
    counted = [n for n in wanted if not n.startswith(ADDED)]
    report.total, report.loaded = len(counted), sum(n in fitting for n in counted)

    def cause() -> str:
        if any('.ls1.' in name for name in report.unexpected):
            return 'its branches have factors for each channel: set layer_scale_init_value=1e-6'
        return _cause(structure_of(tensors), structure_of(wanted), module.variants)

    check_match(report, fitting, misfits, cause)
    return fitting


def _cause(theirs: Structure, ours: Structure, variants: Mapping[str, Mapping[str, Any]]) -> str:
    """The likeliest reason why a ViT's weights do not fit."""
    if theirs == ours:
        return 'the structure agrees but the shapes of single tensors do not: look at the arguments of the backbone'
    named = [
        next((arch for arch, variant in variants.items() if one._asdict().items() <= variant.items()), None)
        for one in (theirs, ours)
    ]
    in_words = [
        arch or ', '.join(f'{key}={value}' for key, value in one._asdict().items())
        for arch, one in zip(named, (theirs, ours))
    ]
    remedy = f": set arch='{named[0]}'" if named[0] else ''
    return f'the file is {in_words[0]}, the config says {in_words[1]}{remedy}'
