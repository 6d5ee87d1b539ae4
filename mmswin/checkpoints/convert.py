"""Recognise a checkpoint's format by its keys and translate it to the authors' names and merge order."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmswin.checkpoints import resize
from mmswin.checkpoints.facts import holds_tensors
from mmswin.checkpoints.formats import (
    AVERAGED,
    CLASSIFIER,
    CONTAINERS,
    DERIVED,
    FORMATS,
    HEADS,
    NETWORKS,
    OTHER_NETWORKS,
    PRETRAINING,
    V1,
    V2,
    WRAPPERS,
    Format,
)
from mmswin.checkpoints.naming import rename, reverse
from mmswin.errors import CheckpointError, printable

# Of the authors' order (0,0) (1,0) (0,1) (1,1), the place of each neighbour in row-major order (0,0) (0,1) (1,0) (1,1).
_ROW_MAJOR = (0, 2, 1, 3)

# Of tensors under the authors' names, how many dimensions each has.
_DIMENSIONS = re.compile(
    r'(?P<d34>^absolute_pos_embed$)|(?P<d4>^patch_embed\.proj\.weight$)|(?P<d1>\.([qv]_)?bias$|norm[^.]*\.weight$)'
    r'|(?P<d2>(qkv|attn\.proj|fc1|fc2|reduction|cpb_mlp\.[02])\.weight$|relative_position_bias_table$)'
    r'|(?P<d3>logit_scale$|spatial_mlp\.weight$)'
)


class Variant(NamedTuple):
    """What a Swin's tensors say of its structure."""

    embed_dims: int
    depths: tuple[int, ...]
    num_heads: tuple[int, ...]


class Translation(NamedTuple):
    """A Swin's tensors under the authors' names, and what else there was.

    ``tensors`` are the backbone's, ``classifier`` those of a classifier's final norm and head, ``others`` what lies
    beside the backbone (necks and heads, under mmdet's and mmseg's names), ``derived`` indices and masks. ``unused``
    are the names, as in the file, of all that is in neither ``tensors`` nor ``derived``.
    """

    format: Format
    prefix: str
    tensors: dict[str, Tensor]
    unused: list[str]
    classifier: dict[str, Tensor]
    others: dict[str, Any]
    derived: dict[str, Tensor]


def container_of(checkpoint: Mapping[str, Any]) -> str:
    """Where in a loaded file its weights lie, as ``'state_dict'`` or ``'model.module'``; '' for the file itself."""
    for container in CONTAINERS:
        inner = checkpoint.get(container)
        if isinstance(inner, Mapping) and holds_tensors(inner):
            deeper = container_of(inner)
            return f'{container}.{deeper}' if deeper else container
    return ''


def weights_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The mapping from names to tensors inside a loaded file.

    Raises:
        CheckpointError: There are no tensors in it that could be a network's; the message lacks the file's name.
    """
    weights = checkpoint
    for container in filter(None, container_of(checkpoint).split('.')):
        weights = weights[container]
    if any(isinstance(value, Tensor) for value in weights.values()):
        return weights
    if not checkpoint:
        raise CheckpointError('is an empty dictionary: whatever wrote it had nothing to save')
    keys = [printable(key, 80) for key in checkpoint]
    shown = ', '.join(keys[:5])
    if {'state', 'param_groups'} <= set(keys) or any(key.startswith('optimizer') for key in keys):
        raise CheckpointError(
            f'holds the state of an optimizer and no weights ({shown}): give the file with the weights'
        )
    raise CheckpointError(f"holds no tensors ({shown}): give a file with a network's weights")


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


def fuse_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join ``attn.q``, ``attn.k`` and ``attn.v`` to ``attn.qkv``; what lacks its partners stays as it is."""
    fused: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r'(.+\.attn\.)([qkv])(\.\w+)', name)
        parts = [tensors.get(f'{found[1]}{part}{found[3]}') for part in 'qkv'] if found else []
        if not found or any(part is None for part in parts):
            fused[name] = tensor
        elif found[2] == 'q':
            fused[f'{found[1]}qkv{found[3]}'] = torch.cat(parts)
    return fused


def split_qkv(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of :func:`fuse_qkv`."""
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        before, found, after = name.partition('.attn.qkv.')
        if found:
            parts = zip('qkv', tensor.chunk(3))
            split.update({f'{before}.attn.{part}.{after}': value.clone() for part, value in parts})
        else:
            split[name] = tensor
    return split


def part_bias(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The bias of a Swin V2's queries and values as ``attn.q_bias`` and ``attn.v_bias``; keys have none."""
    parted: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        before, found, part = name.partition('.attn.')
        if found and part == 'qkv.bias':  # as torchvision has it, which does not use the third of the keys
            query, _, value = tensor.chunk(3)
            parted |= {f'{before}.attn.q_bias': query, f'{before}.attn.v_bias': value}
        else:
            parted[f'{before}.attn.{part[0]}_bias' if found and part in ('q.bias', 'v.bias') else name] = tensor
    return parted


def join_bias(tensors: Mapping[str, Tensor], form: Format) -> dict[str, Tensor]:
    """The inverse of :func:`part_bias`, as a format has them."""
    joined: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        before, found, part = name.partition('.attn.')
        if not found or part not in ('q_bias', 'v_bias') or not (form.separate_qkv or form.joined_bias):
            joined[name] = tensor
        elif form.separate_qkv:
            joined[f'{before}.attn.{part[0]}.bias'] = tensor
        elif part == 'q_bias':
            joined[f'{before}.attn.qkv.bias'] = torch.cat(
                [tensor, torch.zeros_like(tensor), tensors[f'{before}.attn.v_bias']]
            )
    return joined


def _fits(form: Format, prefix: str, known: set[str]) -> bool:
    groups = filter(None, (form.attention, form.needs))
    there = all(any(prefix + name in known for name in group) for group in groups)
    return there and prefix[-1:] in ('', '.') and not (form.lacks and prefix + form.lacks in known)


def locate(names: Iterable[str], formats: Sequence[Format] = FORMATS) -> tuple[Format, str] | None:
    """Format and prefix of the network among the names; of several the averaged one, else that of the shortest prefix."""
    known = set(names)
    found = [
        (name.removesuffix(patch), order)
        for order, form in enumerate(formats)
        for patch in form.patch
        for name in known
        if name.endswith(patch) and _fits(form, name.removesuffix(patch), known)
    ]
    if not found:
        return None
    prefix, order = min(found, key=lambda pair: (not set(pair[0].split('.')) & {*AVERAGED}, len(pair[0]), *pair))
    return formats[order], prefix


def _to_ours(tensors: Mapping[str, Tensor], form: Format) -> dict[str, Tensor]:
    """A backbone's tensors, renamed, in the authors' order."""
    if form.separate_qkv:
        tensors = fuse_qkv(tensors)
    second = network_of(tensors) == V2
    if form.channel_major:
        tensors = {name: channel_major_to_blocks(t) if _is_merged(name, second) else t for name, t in tensors.items()}
    return part_bias(tensors) if second else tensors


def _is_merged(name: str, second: bool) -> bool:
    """Whether the last axis of a tensor runs over 2x2 neighbours; the norm of a Swin V2 stands behind the reduction."""
    return '.downsample.reduction.' in name or ('.downsample.norm.' in name and not second)


def network_of(names: Iterable[str]) -> str:
    """The class of the network whose tensors bear these names, the authors'."""
    names = list(names)
    return next((network for network, end in NETWORKS if any(name.endswith(end) for name in names)), V1)


def translate(state_dict: Mapping[str, Any]) -> Translation:
    """Find the Swin among the tensors and translate it; its own format comes back as it is.

    Raises:
        CheckpointError: There is no Swin of a known format, or it is one that cannot be loaded.
    """
    wrappers = re.compile('|'.join(map(re.escape, WRAPPERS)))
    entries = {wrappers.sub('', name): (name, value) for name, value in state_dict.items() if isinstance(name, str)}
    strange = next((name for name in entries if not name.isprintable()), None)
    if strange is not None:
        raise CheckpointError(f'the weights have a name that is no text: {printable(strange, 100)}')
    located = locate(entries)
    if located is None:
        raise CheckpointError(unknown(entries, 'Swin backbone'))
    form, prefix = located
    inside, outside = form.beside or ('', '')
    outside = prefix.removesuffix(inside) + outside if inside and prefix.endswith(inside) else ''
    root = prefix.removesuffix('backbone.')
    parts: dict[str, dict[str, Tensor]] = {'tensors': {}, 'classifier': {}, 'others': {}, 'derived': {}}
    unused = []
    for name, (original, value) in entries.items():
        name = name.replace(outside, prefix + form.beside[1], 1) if outside and name.startswith(outside) else name
        inside = name.startswith(prefix)
        ours = rename(name.removeprefix(prefix if inside else root), form.templates if inside else form.outer)
        kind = (
            'others' if not isinstance(value, Tensor)
            else 'derived' if inside and ours.endswith(DERIVED)
            else 'classifier' if ours.startswith(CLASSIFIER)
            else 'tensors' if inside and not ours.startswith(PRETRAINING)
            else 'others'
        )  # fmt: skip
        if name.startswith(root):
            parts[kind][ours] = value
        if kind in ('classifier', 'others'):
            unused.append(original)
    patch = parts['tensors'].get('patch_embed.proj.weight')
    if patch is None:
        raise CheckpointError('the weights have a patch projection that is no tensor')
    if patch.dim() == 5:
        raise CheckpointError('the weights are a Video Swin, which works on clips and not on images')
    if not patch.numel():
        raise CheckpointError(
            'the weights are empty tensors, as in one shard of DeepSpeed ZeRO 3: put the folder together first with '
            'the zero_to_fp32.py in it'
        )
    try:
        parts['tensors'] = _to_ours(parts['tensors'], form)
    except (RuntimeError, IndexError) as error:
        raise CheckpointError('the weights have parts whose shapes do not fit each other, as no Swin has') from error
    for name, tensor in parts['tensors'].items():
        if tensor.is_complex():
            raise CheckpointError(f'the weights have complex numbers in {printable(name, 100)}, as no Swin has')
        known = _DIMENSIONS.search(name)
        if known and str(tensor.dim()) not in (known.lastgroup or '')[1:]:
            shape = printable(tuple(tensor.shape), 40)
            raise CheckpointError(f'the weights have {printable(name, 100)} of shape {shape}, as no Swin has')
    return Translation(form, prefix, unused=unused, **parts)


def variant_of(tensors: Mapping[str, Tensor]) -> Variant:
    """Read the structure off tensors with the authors' names."""
    depths: dict[int, int] = {}
    heads: dict[int, int] = {}
    for name, tensor in tensors.items():
        match = re.match(r'layers\.([0-9]{1,4})\.blocks\.([0-9]{1,4})\.', name)
        if match:
            stage, block = int(match[1]), int(match[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
            if name.endswith('relative_position_bias_table'):
                heads[stage] = tensor.shape[1]
            elif name.endswith('logit_scale'):
                heads[stage] = tensor.shape[0]
            elif name.endswith('spatial_mlp.weight'):  # one matrix for each head, tokens x tokens
                heads[stage] = tensor.shape[0] // max(tensor.shape[1], 1)
    width = tensors['patch_embed.proj.weight'].shape[0]
    return Variant(width, tuple(depths[i] for i in sorted(depths)), tuple(heads[i] for i in sorted(heads)))


def windows_of(translation: Translation) -> dict[str, tuple[tuple[int, int] | None, tuple[int, int] | None]]:
    """By the attention's name (``layers.0.blocks.0.attn``) its window, and the pretrained window of a Swin V2.

    A window that is not square is None where the file does not tell its sides; a Swin V2's are missing where it does not.
    """
    found: dict[str, tuple[tuple[int, int] | None, tuple[int, int] | None]] = {}
    for name, tensor in translation.tensors.items():
        before, _, last = name.rpartition('.')
        if last == 'relative_position_bias_table':
            index = translation.derived.get(f'{before}.relative_position_index')
            found[before] = resize.table_window(tensor.shape[0], index), None
        elif name.endswith('spatial_mlp.weight'):  # tokens x tokens, for each head
            side = math.isqrt(tensor.shape[1])
            found[before] = (side, side), None
    for name, offsets in translation.derived.items():
        told = resize.offset_windows(offsets) if name.endswith('relative_coords_table') else None
        if told:
            found[name.rpartition('.')[0]] = told
    return found


def to_format(tensors: Mapping[str, Tensor], form: Format) -> dict[str, Tensor]:
    """A backbone's tensors with the authors' names under those of another format, in its orders and shapes."""
    ordered, second = dict(tensors), network_of(tensors) == V2
    if form.channel_major:
        ordered = {name: blocks_to_channel_major(t) if _is_merged(name, second) else t for name, t in tensors.items()}
    if form.flat_positions and 'absolute_pos_embed' in ordered:
        ordered['absolute_pos_embed'] = resize.flat(ordered['absolute_pos_embed'])
    backward = reverse(form.templates)
    ordered = split_qkv(ordered) if form.separate_qkv else ordered
    return {rename(name, backward): tensor for name, tensor in join_bias(ordered, form).items()}


# ------------------------------------------------------------------ what is no Swin, in words


def unknown(names: Iterable[str], wanted: str) -> str:
    """Why there is none of the wanted networks among the names, as the end of a sentence that begins with the file."""
    names = [printable(name, 200) for name in names]
    if not names:
        return 'is empty: there is no tensor in it'
    swin, text = locate(names), '\n'.join(names)  # which no name or fragment holds
    others = (network for network, fragments in OTHER_NETWORKS if all(fragment in text for fragment in fragments))
    network = f'a Swin ({swin[0].name} format)' if swin else next(others, None)
    if network:
        return f'the weights are {network}, not a {wanted} of a known format'
    parts = list(dict.fromkeys(name.removeprefix('module.').split('.')[0] for name in names))
    if all(part in HEADS for part in parts):
        shown = ', '.join(parts[:4]) + (', ...' if len(parts) > 4 else '')
        return f'the weights are the parts beside a backbone ({shown}) without the backbone itself'
    if 'flat_param' in text:
        return (
            'the weights are flattened shards of FSDP; gather them before saving: FSDP.state_dict_type(model, '
            'StateDictType.FULL_STATE_DICT)'
        )
    return f'the weights are no {wanted} of a known format ({len(names)} entries, the first is {names[0]!r})'
