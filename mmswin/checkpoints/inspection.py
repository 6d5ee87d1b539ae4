"""What a checkpoint is, in one screen: read without running anything in it."""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from mmswin.atomic import size_text
from mmswin.checkpoints import convert, resize
from mmswin.checkpoints.convert import Translation
from mmswin.checkpoints.export import kind_of
from mmswin.checkpoints.formats import MLP, V1, V2
from mmswin.checkpoints.report import name_of, not_finite, words_of
from mmswin.checkpoints.untrusted import local_path, read_file
from mmswin.errors import CheckpointError, printable

Rows = list[tuple[str, str]]
# By the class of the network the structures that it knows by name.
Variants = Mapping[str, Mapping[str, Mapping[str, Any]]]

NAMES = {V1: 'Swin', V2: 'Swin V2', MLP: 'Swin-MLP'}

# Entries of a file's own dictionary that say how far its training was.
_TRAINING = ('epoch', 'iter', 'iteration', 'global_step', 'global_steps', 'max_accuracy', 'best_acc', 'metric')
_STATES = ('optimizer', 'optimizers', 'lr_scheduler', 'param_schedulers', 'lr_schedulers', 'scheduler', 'scaler', 'amp',
           'message_hub', 'ema_state_dict', 'optimizer_states', 'loops')  # fmt: skip
# Under which training scripts save their configuration.
_CONFIGURATIONS = ('config', 'cfg', 'args', 'opt')
# Of mmengine's, mmcv's and others' notes on where a file comes from.
_PROVENANCE = ('experiment_name', 'time', 'mmengine_version', 'mmdet_version', 'mmseg_version', 'mmcls_version',
               'mmcv_version', 'seed', 'exp_name')  # fmt: skip


def _window_row(translation: Translation) -> str:
    told = convert.windows_of(translation)
    shown = list(dict.fromkeys(window for window, _ in told.values()))
    row = ', '.join(resize.sides(window) if window else 'cannot be told' for window in shown)
    row = row or 'any: the file does not tell its own'
    if len(shown) == 1 and shown[0] and shown[0][0] == shown[0][1]:
        row += f': window_size={shown[0][0]}'
    pretrained = [found[0] for name, (_, found) in told.items() if found and '.blocks.0.' in name]
    return row + (f', pretrained_window_sizes={pretrained}' if pretrained else '')


def _image_size(translation: Translation) -> str | None:
    """The image that a file was made for, where masks or an embedding tell."""
    patch = translation.tensors['patch_embed.proj.weight'].shape[2]
    embedding = translation.tensors.get('absolute_pos_embed')
    if embedding is not None:
        grid = resize.grid_of(embedding)
        return resize.sides(tuple(patch * n for n in grid)) if grid else None
    for name, mask in translation.derived.items():
        found = re.fullmatch(r'layers\.([0-9]{1,2})\.blocks\.[0-9]+\.attn_mask', name)
        if found and mask.dim() == 3:
            tokens = mask.shape[0] * mask.shape[1]
            side = math.isqrt(tokens)
            if side * side == tokens:
                return resize.sides((side * patch * 2 ** int(found[1]),) * 2)
    return None


def _classes(translation: Translation, meta: Mapping[str, Any]) -> str | None:
    """How many classes the heads tell apart, and their names where the file has them."""
    tensors = {**translation.classifier, **{n: v for n, v in translation.others.items() if isinstance(v, Tensor)}}
    # Of Sparse R-CNN's boxes none is of the background.
    sigmoid = any('instance_interactive_conv' in name for name in tensors)
    counts = []
    for pattern, extra, what in (
        (r'head\.weight', 0, 'classes'),
        (r'.*(decode_head)\.conv_seg\.weight', 0, 'classes of pixels'),
        (r'.*fc_cls\.weight', 0 if sigmoid else 1, 'classes of boxes'),
        (r'.*mask_head(?:\.\d+)?\.conv_logits\.weight', 0, 'classes of masks'),
    ):
        rows = {t.shape[0] - extra for name, t in tensors.items() if t.dim() and re.fullmatch(pattern, name)}
        counts += [f'{row} {what}' for row in sorted(rows)]
    notes = meta.get('dataset_meta') if isinstance(meta.get('dataset_meta'), Mapping) else meta
    named = notes.get('classes', notes.get('CLASSES'))
    if isinstance(named, (list, tuple)) and named:
        few = 5 if len(named) == 5 else 4  # '...' stands for more than one
        shown = [printable(value, 40) for value in named[:few]] + ['...'] * (len(named) > few)
        counts.append('named ' + ', '.join(shown))
    return ', '.join(counts) or None


def _training(checkpoint: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    facts = [f'{key} {printable(source[key], 20)}' for source in (checkpoint, meta) for key in _TRAINING
             if isinstance(source.get(key), (int, float, str))]  # fmt: skip
    states = [key for key in checkpoint if key in _STATES]
    resumable = ', '.join(states) if states else 'no optimizer: to load from, not to resume'
    return '; '.join([*dict.fromkeys(facts), resumable])


def _backbone(translation: Translation, variants: Variants) -> Rows:
    tensors = translation.tensors
    variant, network = convert.variant_of(tensors), convert.network_of(tensors)
    arch = name_of(variant, variants.get(network, {}))
    kind = '' if network == V1 else f"type='mmswin.{network}', "
    title = f"{NAMES[network]}-{arch[0].upper()}: set {kind}arch='{arch}'" if arch else f'none of the paper: {kind}'
    bias = 'layers.0.blocks.0.attn.qkv.bias', 'layers.0.blocks.0.attn.q_bias'
    weight = tensors['patch_embed.proj.weight']
    hidden = tensors.get('layers.0.blocks.0.mlp.fc1.weight')
    ratio = math.nan if hidden is None else hidden.shape[0] / variant.embed_dims
    norms = tuple(int(name[4:-7]) for name in tensors if re.fullmatch(r'norm[0-9]{1,2}\.weight', name))
    return [
        ('variant', f'{title} ({words_of(variant)})' if arch else title + words_of(variant)),
        ('window', _window_row(translation)),
        ('images', f'{weight.shape[1]} channels, patches of {resize.sides(tuple(weight.shape[2:]))}, made for '
                   f'{_image_size(translation) or "a size that the file does not tell"}'),
        ('else', f'mlp_ratio={ratio:g}, qkv_bias={any(name in tensors for name in bias)}, '
                 f'use_abs_pos_embed={"absolute_pos_embed" in tensors}, out_indices with a norm: {norms or "none"}'),
    ]  # fmt: skip


def inspect(checkpoint: Mapping[str, Any], variants: Variants, notes: Mapping[str, Any] | None = None) -> Rows:
    """Rows of (what, value) that describe a loaded file.

    Args:
        checkpoint: What :func:`mmswin.checkpoints.load_file` gave.
        variants: Structures by name, by the class of the backbone.
        notes: What the file says of itself elsewhere (the header of a safetensors file).

    Raises:
        CheckpointError: There is no Swin in it; the message lacks the file's name.
    """
    weights = convert.weights_of(checkpoint)
    translation = convert.translate(weights)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    tensors = [value for value in weights.values() if isinstance(value, Tensor)]
    numbers = sum(tensor.numel() for tensor in tensors)
    dtypes = Counter(str(tensor.dtype).removeprefix('torch.') for tensor in tensors)
    place = [f'in {convert.container_of(checkpoint)!r}'] if convert.container_of(checkpoint) else []
    place += [f'below {translation.prefix!r}'] if translation.prefix else []
    parts = Counter(name.split('.')[0] for name in translation.others).most_common(6)
    beside = ', '.join(f'{printable(part, 40)} ({count})' for part, count in parts)
    kind = f'a {kind_of(translation)}'
    if kind == 'a backbone' and 'mask_token' in translation.others:
        kind = 'an encoder pretrained by SimMIM'
    told = {**meta, **(notes or {})}
    origin = [f'{key} {printable(told[key], 40)}' for key in _PROVENANCE
              if isinstance(told.get(key), (int, str)) and told[key] != '']  # fmt: skip
    rows = [
        ('format', ', '.join([translation.format.title, *place])),
        ('holds', kind + (f': {beside}' if beside else '')),
        *_backbone(translation, variants),
        ('classes', _classes(translation, meta) or ('not told by these heads' if translation.others else 'none')),
        ('training', _training(checkpoint, meta)),
        ('from', ', '.join(origin) or 'the file does not say'),
        ('tensors', f'{len(tensors)} with {numbers / 1e6:.1f} million numbers, '
                    + ', '.join(f'{count} {dtype}' for dtype, count in dtypes.most_common())),
    ]  # fmt: skip
    kept = [f'a configuration of {len(checkpoint[key])} entries, in {key!r}' for key in _CONFIGURATIONS
            if isinstance(checkpoint.get(key), Mapping)]  # fmt: skip
    rows += [('besides', ', '.join(kept))] if kept else []
    if spoilt := not_finite(weights):
        first = printable(spoilt[0], 100)
        rows.append(('NOT FINITE', f'{len(spoilt)} tensors hold NaN or infinity, the first is {first}'))
    return rows


def inspect_file(file: str | os.PathLike, variants: Variants) -> Rows:
    """The same of a file or URL, with what the file itself is.

    Raises:
        CheckpointError: The file cannot be read, or holds no Swin.
    """
    content, kind, notes = read_file(file)
    path = local_path(os.fspath(file))
    size = f', {size_text(path.stat().st_size)}' if path.is_file() else ''
    row = f'{file}{size}, {kind}'
    try:
        return [('file', row), *inspect(content, variants, notes)]
    except CheckpointError as error:
        raise CheckpointError(f'{file}: {error}') from None
