"""Recognise a checkpoint's format by its keys and translate it to the authors' names and merge order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from torch import Tensor

from mmswin.checkpoints.errors import CheckpointError
from mmswin.checkpoints.formats import CLASSIFIER, CONTAINERS, DERIVED, FORMATS, OPENMMLAB, OTHER_NETWORKS, Format

# Of the authors' order (0,0) (1,0) (0,1) (1,1), the place of each neighbour in row-major order (0,0) (0,1) (1,0) (1,1).
_ROW_MAJOR = (0, 2, 1, 3)


class Variant(NamedTuple):
    """What a Swin's tensors say of its structure."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]


class Translation(NamedTuple):
    """A Swin's tensors under the authors' names, and what else the file held."""

    format: Format
    prefix: str
    tensors: dict[str, Tensor]
    unused: list[str]


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping from names to tensors inside a loaded file."""
    for container in CONTAINERS:
        if isinstance(checkpoint.get(container), Mapping):
            return weights_of(checkpoint[container])
    return checkpoint


def channel_major_to_blocks(tensor: Tensor) -> Tensor:
    """Reorder the last axis, 4C, from nn.Unfold's order to that of concatenated neighbours (spec of patch merging)."""
    width = tensor.shape[-1] // 4
    neighbours = tensor.reshape(*tensor.shape[:-1], width, 4).transpose(-1, -2)
    return neighbours[..., _ROW_MAJOR, :].reshape(tensor.shape).contiguous()


def blocks_to_channel_major(tensor: Tensor) -> Tensor:
    """The inverse of :func:`channel_major_to_blocks`."""
    width = tensor.shape[-1] // 4
    neighbours = tensor.reshape(*tensor.shape[:-1], 4, width)[..., _ROW_MAJOR, :]
    return neighbours.transpose(-1, -2).reshape(tensor.shape).contiguous()


@lru_cache(maxsize=1024)
def _compiled(pattern: str, target: str) -> tuple[re.Pattern, str]:
    parts = re.split(r'(\{n\}|\{\*\})', pattern)
    regex = ''.join({'{n}': r'(\d+)', '{*}': r'(.+)'}.get(part, re.escape(part)) for part in parts)
    groups = iter(range(1, 10))
    return re.compile(regex), re.sub(r'\{n\}|\{\*\}', lambda _: rf'\{next(groups)}', target)


def rename(name: str, templates: Iterable[tuple[str, str]]) -> str:
    """The name that the first fitting template gives, or the name itself."""
    for pattern, target in templates:
        regex, replacement = _compiled(pattern, target)
        match = regex.fullmatch(name)
        if match:
            return match.expand(replacement)
    return name


def foreign_network(names: Iterable[str]) -> str | None:
    """What other network the names belong to, in words; None if no signature fits."""
    names = list(names)
    for network, fragments in OTHER_NETWORKS:
        if all(any(fragment in name for name in names) for fragment in fragments):
            return network
    if any('layers.1.downsample.' in n for n in names) and not any('layers.0.downsample.' in n for n in names):
        return 'a timm Swin (0.9 or later), which is not supported yet'
    return None


def _locate(names: Iterable[str]) -> tuple[Format, str] | None:
    """Format and prefix of the Swin among the names; the shortest prefix where there are several."""
    names = list(names)
    known = set(names)
    found = [
        (name.removesuffix(form.patch_weight), form)
        for form in FORMATS
        for name in names
        if name.endswith(form.patch_weight) and name.removesuffix(form.patch_weight) + form.attention_weight in known
    ]
    prefixes = [(prefix, form) for prefix, form in found if not prefix or prefix.endswith('.')]
    if not prefixes:
        return None
    prefix, form = min(prefixes, key=lambda pair: (len(pair[0]), pair[0]))
    return form, prefix


def translate(state_dict: Mapping[str, Any]) -> Translation:
    """Find the Swin among the tensors and translate it; its own format comes back as it is.

    Raises:
        CheckpointError: There is no Swin of a known format.
    """
    located = _locate(state_dict)
    other = foreign_network(state_dict)
    if located is None or other:
        if other:
            raise CheckpointError(f'the weights are {other}, not a Swin backbone of a known format')
        content = f'{len(state_dict)} entries, the first is {next(iter(state_dict), None)!r}'
        raise CheckpointError(f'the weights are no Swin backbone of a known format ({content})')
    form, prefix = located
    tensors: dict[str, Tensor] = {}
    unused = []
    for name, tensor in state_dict.items():
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or inner.startswith(CLASSIFIER):
            unused.append(name)
        elif not inner.endswith(DERIVED):
            inner = rename(inner, form.templates)
            if form.channel_major and '.downsample.' in inner:
                tensor = channel_major_to_blocks(tensor)
            tensors[inner] = tensor
    return Translation(form, prefix, tensors, unused)


def variant_of(tensors: Mapping[str, Tensor]) -> Variant:
    """Read the structure off tensors with the authors' names."""
    depths: dict[int, int] = {}
    heads: dict[int, int] = {}
    for name, tensor in tensors.items():
        match = re.match(r'layers\.(\d+)\.blocks\.(\d+)\.', name)
        if match:
            stage, block = int(match[1]), int(match[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
            if name.endswith('relative_position_bias_table'):
                heads[stage] = tensor.shape[1]
    width = tensors['patch_embed.proj.weight'].shape[0]
    return Variant(width, tuple(depths[i] for i in sorted(depths)), tuple(heads[i] for i in sorted(heads)))


def to_openmmlab(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors with the authors' names under those of mmdet and mmseg."""
    backward = [(ours, theirs) for theirs, ours in OPENMMLAB.templates]
    out = {}
    for name, tensor in tensors.items():
        if '.downsample.' in name:
            tensor = blocks_to_channel_major(tensor)
        elif name == 'absolute_pos_embed' and tensor.dim() == 4:
            tensor = tensor.flatten(2).transpose(1, 2)
        out[rename(name, backward)] = tensor
    return out
