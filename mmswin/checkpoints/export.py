"""Writing of a checkpoint's weights under the names of another library, whole detectors and segmenters included."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from mmswin.checkpoints import convert, formats, resize
from mmswin.checkpoints.convert import Translation
from mmswin.checkpoints.facts import meta_facts
from mmswin.checkpoints.formats import Format
from mmswin.checkpoints.naming import rename, reverse
from mmswin.errors import CheckpointError
from mmswin.ops.windows import relative_position_index


class Target(NamedTuple):
    """What files of a library look like.

    Args:
        format: Its names.
        title: What its networks are called in messages.
        heads: Which files it has beyond backbones: 'dense' detectors and segmenters, 'classifier' classifiers.
        container: Where the weights of a classifier or backbone lie in its files; '' for the file itself.
        always_inside: Whether a backbone alone is written as part of a network, below ``backbone.``.
        positions: Whether its Swin can have an absolute position embedding.
        networks: Which of our classes it has.
    """

    format: Format
    title: str
    heads: tuple[str, ...]
    container: str = ''
    always_inside: bool = False
    positions: bool = True
    networks: tuple[str, ...] = (formats.V1, formats.V2)


_ALL = (formats.V1, formats.V2, formats.MLP)
TARGETS = {
    'mmswin': Target(formats.AUTHORS, 'mmswin', ('dense', 'classifier'), 'state_dict', networks=_ALL),
    'authors': Target(formats.AUTHORS, "the authors' code", ('dense', 'classifier'), 'model', networks=_ALL),
    'mmdet': Target(formats.OPENMMLAB, 'mmdet', ('dense',), 'state_dict', always_inside=True, networks=(formats.V1,)),
    'mmseg': Target(formats.OPENMMLAB, 'mmseg', ('dense',), 'state_dict', always_inside=True, networks=(formats.V1,)),
    'mmpretrain': Target(formats.OPENMMLAB, 'mmpretrain', ('classifier',), 'state_dict', always_inside=True),
    'timm': Target(formats.TIMM, 'timm', ('classifier',), positions=False),
    'torchvision': Target(formats.TORCHVISION, 'torchvision', ('classifier',), positions=False),
    'transformers': Target(formats.TRANSFORMERS, 'transformers', ('classifier',)),
}


class Export(NamedTuple):
    """A checkpoint for another library.

    Args:
        content: What to save.
        tensors: The network's tensors in it, by the names that the library has for them.
        model: What it is: 'backbone', 'classifier', 'detector', 'segmenter', or the class of transformers.
        inside: What stands before the backbone's names.
        dropped: Names, as in the source's translation, of what the library has no place for.
        notes: Sentences on what else is different.
    """

    content: dict[str, Any]
    tensors: dict[str, Tensor]
    model: str
    inside: str
    dropped: list[str]
    notes: list[str]


def kind_of(translation: Translation) -> str:
    """What a file holds around its Swin: 'detector', 'segmenter', 'classifier' or 'backbone'."""
    parts = {name.split('.')[0] for name in translation.others}
    if 'mask_token' in parts:
        parts.discard('neck')  # SimMIM's decoder
    if 'decode_head' in parts:
        return 'segmenter'
    if parts & {'neck', 'rpn_head', 'roi_head', 'bbox_head', 'mask_head', 'panoptic_head', 'query_head'}:
        return 'detector'
    return 'classifier' if any(name.startswith('head.') for name in translation.classifier) else 'backbone'


def _indices(translation: Translation, how: str) -> dict[str, Tensor]:
    """The relative position indices, and a Swin V2's offsets, that a library saves, by the authors' names."""
    found = {name: value for name, value in translation.derived.items() if name.endswith('relative_coords_table')}
    for name, (window, _) in convert.windows_of(translation).items():
        if window and name.endswith('.attn'):
            index = relative_position_index(window, next(iter(translation.tensors.values())))
            found[f'{name}.relative_position_index'] = (index.flatten() if how == 'flat' else index).clone()
    return found if how else {}


def _with_positions(tensors: dict[str, Tensor], as_map: bool) -> dict[str, Tensor]:
    """The tensors with a square position embedding as ``1 x C x H x W``, or with any as ``1 x (H W) x C``."""
    embedding = tensors.get('absolute_pos_embed')
    if embedding is None:
        return tensors
    grid = resize.grid_of(embedding)
    if as_map and grid:
        return {**tensors, 'absolute_pos_embed': resize.spread(embedding, grid)}
    return tensors if as_map else {**tensors, 'absolute_pos_embed': resize.flat(embedding)}


def _norms(translation: Translation, kind: str, target: str) -> tuple[dict[str, Tensor], list[str]]:
    """The norms behind the stages as the target has them, by the authors' names, and those it has no place for."""
    last = f'norm{len(convert.variant_of(translation.tensors).depths) - 1}.'
    behind = {name: value for name, value in translation.tensors.items() if name.startswith('norm')}
    final = {name: value for name, value in translation.classifier.items() if name.startswith('norm.')}
    last_as_final = {name.replace(last, 'norm.'): value for name, value in behind.items() if name.startswith(last)}
    dense = len(behind) > len(last_as_final)
    if target in ('mmswin', 'authors'):  # a classifier's last norm may have mmpretrain's name
        return (last_as_final if kind == 'classifier' and not dense and not final else behind | final), []
    if target == 'mmpretrain':
        return behind | {name.replace('norm.', last): value for name, value in final.items()}, []
    if target in ('mmdet', 'mmseg') or (target == 'transformers' and kind != 'classifier' and dense):
        return behind, list(final)
    kept = last_as_final | final
    return kept, [name for name in behind if name.replace(last, 'norm.') not in kept]


def _shape(
    target: str, kind: str, others: Mapping[str, Any], norms: Mapping[str, Tensor], second: bool
) -> tuple[str, str, bool]:
    """What network the target's file is for, what stands before its backbone's names, and whether heads come along."""
    dense = kind in ('detector', 'segmenter')
    if target == 'transformers':
        if kind == 'segmenter' and any(name.startswith('decode_head.psp_modules.') for name in others):
            return 'UperNetForSemanticSegmentation', 'backbone.', True
        swin = 'Swinv2' if second else 'Swin'
        if kind == 'classifier':
            return f'{swin}ForImageClassification', f'{swin.lower()}.', False
        return f'{swin}Model' if set(norms) <= {'norm.weight', 'norm.bias'} else f'{swin}Backbone', '', False
    whole = dense and 'dense' in TARGETS[target].heads
    fits = whole or kind in TARGETS[target].heads
    return kind if fits else 'backbone', 'backbone.' if whole or TARGETS[target].always_inside else '', whole


def _check(translation: Translation, target: str) -> None:
    form = TARGETS[target]
    network = convert.network_of(translation.tensors)
    if network not in form.networks:
        raise CheckpointError(f'{form.title} has no {network}, which the file is')
    if not form.positions and 'absolute_pos_embed' in translation.tensors:
        raise CheckpointError(f"{form.title}'s Swin has no absolute position embedding, and the file's has one")
    channels = translation.tensors['patch_embed.proj.weight'].shape[1]
    if target == 'torchvision' and channels != 3:
        raise CheckpointError(f"torchvision's Swin takes images of 3 channels, and the file's of {channels}")
    if target == 'torchvision' and 'patch_embed.norm.weight' not in translation.tensors:
        raise CheckpointError("torchvision's Swin normalises its patches, and the file's does not (patch_norm=False)")


def export(checkpoint: Mapping[str, Any], target: str) -> Export:
    """A checkpoint of any recognised format as a file of another library.

    Args:
        checkpoint: A loaded file.
        target: A key of :data:`TARGETS`.

    Raises:
        CheckpointError: There is no Swin in the file, or the library has no such Swin.
    """
    translation = convert.translate(convert.weights_of(checkpoint))
    _check(translation, target)
    form, kind = TARGETS[target].format, kind_of(translation)
    second = convert.network_of(translation.tensors) == formats.V2
    form = formats.OPENMMLAB_V2 if second and form is formats.OPENMMLAB else form
    norms, dropped = _norms(translation, kind, target)
    model, inside, whole = _shape(target, kind, translation.others, norms, second)
    backbone = {name: value for name, value in translation.tensors.items() if not name.startswith('norm')} | norms
    if form is formats.AUTHORS:
        backbone = _with_positions(backbone, target == 'mmswin' or kind in ('detector', 'segmenter'))
    backbone |= _indices(translation, form.writes_index)
    tensors = {inside + name: value for name, value in convert.to_format(backbone, form).items()}
    head = {name: value for name, value in translation.classifier.items() if name.startswith('head.')}
    if kind == 'classifier' and 'classifier' in TARGETS[target].heads:
        # mmpretrain's head lies beside its backbone.
        tensors |= {rename(name, reverse(form.outer if target == 'mmpretrain' else form.templates)): value
                    for name, value in head.items()}  # fmt: skip
    else:
        dropped += list(head)
    if whole:
        backward = reverse(form.outer) if target == 'transformers' else ()
        tensors |= {rename(name, backward): v for name, v in translation.others.items() if isinstance(v, Tensor)}
    else:
        dropped += [name for name in translation.others if not name.startswith(formats.PRETRAINING)]
    container = 'state_dict' if whole and target == 'authors' else TARGETS[target].container
    carried = meta_facts(checkpoint.get('meta')) if container else None
    content = {container: tensors, **({'meta': carried} if carried else {})} if container else tensors
    return Export(content, tensors, model, inside, dropped, _notes(checkpoint, translation, form))


def _notes(checkpoint: Mapping[str, Any], translation: Translation, form: Format) -> list[str]:
    notes = []
    training = [key for key in checkpoint if str(key).startswith(('optimizer', 'lr_scheduler', 'param_schedulers'))]
    if training:
        notes.append(f'the training state ({", ".join(training)}) stays behind: the new file is to load, not to resume')
    tables = [name for name in translation.tensors if name.endswith(('relative_position_bias_table', 'logit_scale'))]
    if form.writes_index and len(_indices(translation, 'square')) < len(tables):
        notes.append('no relative position index is written: the file does not tell the sides of its window')
    return notes
