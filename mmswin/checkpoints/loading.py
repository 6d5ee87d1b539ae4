"""Loading of weights into a backbone: what was done, and refusal of what cannot be right."""

import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mmswin.checkpoints import convert, resize
from mmswin.checkpoints.convert import Translation
from mmswin.checkpoints.facts import facts
from mmswin.checkpoints.formats import V2
from mmswin.checkpoints.report import LoadReport, cause_of, log, match
from mmswin.checkpoints.untrusted import load_file
from mmswin.errors import CheckpointError

__all__ = ['LoadReport', 'load_pretrained', 'load_weights', 'translate_classifier']

_NORM = re.compile('norm[0-9]')  # behind a stage
_BLOCK = re.compile(r'layers\.[0-9]{1,4}\.blocks\.[0-9]{1,4}(?=\.)')


def _block_of(name: str) -> str | None:
    found = _BLOCK.match(name)
    return found[0] if found else None


def _fit(
    module: nn.Module, name: str, tensor: Tensor, wanted: Tensor, derived: Mapping[str, Tensor]
) -> tuple[Tensor, str]:
    """A tensor of the file, resized if it is for another window, image size or number of channels, and what was done."""
    if name.endswith('relative_position_bias_table') and tensor.shape[1:] == wanted.shape[1:]:
        index = derived.get(name.replace('bias_table', 'index'))
        old, new = resize.table_window(tensor.shape[0], index), module.get_submodule(name.rpartition('.')[0]).window
        if old and old != tuple(new) and (index is not None or tensor.shape != wanted.shape):
            return resize.resize_bias_table(tensor, old, new), f'window {resize.sides(old)} to {resize.sides(new)}'
        if not old and tensor.shape != wanted.shape:
            raise ValueError(
                f'its window is no square, and a table of {tensor.shape[0]} rows does not tell its sides: load it at '
                'its own window_size'
            )
    if name == 'absolute_pos_embed' and tensor.dim() in (3, 4):
        size = tuple(wanted.shape[2:])
        fitted = resize.resize_position_embedding(tensor, size)
        before = f'{tensor.shape[1]} patches' if tensor.dim() == 3 else f'{resize.sides(tensor.shape[2:])} patches'
        changed = resize.grid_of(tensor) not in (None, size)
        return fitted, f'position embedding of {before} to {resize.sides(size)}' if changed else ''
    if name == 'patch_embed.proj.weight' and tensor.shape[1] != wanted.shape[1]:
        policy = getattr(module, 'in_channels_policy', 'zeros')
        fitted = resize.resize_channels(tensor, wanted.shape[1], policy)
        how = f' ({policy})' if wanted.shape[1] > tensor.shape[1] > 1 else ''
        return fitted, f'input channels {tensor.shape[1]} to {wanted.shape[1]}{how}'
    return tensor, ''


def _check_network(module: nn.Module, translation: Translation) -> None:
    """Make sure that a file is for this version of Swin, and its position bias for these windows."""
    theirs, ours = convert.network_of(translation.tensors), convert.network_of(module.state_dict())
    if theirs != ours:
        raise CheckpointError(f"the weights are a {theirs}'s and not a {ours}'s: set type='mmswin.{theirs}'")
    told = convert.windows_of(translation)
    wanted = [layer.blocks[0].attn.pretrained_window for layer in module.layers] if theirs == V2 else []
    known = [told.get(f'layers.{stage}.blocks.0.attn', (None, own))[1] or own for stage, own in enumerate(wanted)]
    for found, own in zip(known, wanted):
        if tuple(found) != tuple(own):
            windows = [*map(_short, known)]
            raise CheckpointError(
                f'the position bias was trained with windows of {", ".join(map(str, windows))}, and the network measures '
                f'offsets in windows of {_short(own)}: set pretrained_window_sizes={windows} (and window_size as you like)'
            )


def _short(window: tuple[int, int]) -> int | tuple[int, int]:
    return window[0] if window[0] == window[1] else window


def _match(module: nn.Module, translation: Translation, report: LoadReport) -> dict[str, Tensor]:
    """Sort the file's tensors into the report and return what to load, fitted to the module's shapes."""
    built = len(module.layers)
    theirs = convert.variant_of(translation.tensors)
    theirs = theirs._replace(depths=theirs.depths[:built], num_heads=theirs.num_heads[:built])
    # Without bias tables the shapes of the tensors do not tell the number of heads, but the attention depends on it.
    ours = convert.variant_of(module.state_dict())._replace(num_heads=module.num_heads[:built])
    partly = getattr(module, 'allow_other_depths', False)
    their_blocks, our_blocks = (
        {_block_of(name): name for name in names} for names in (translation.tensors, module.state_dict())
    )
    report.new_blocks = [block for block in our_blocks if block and block not in their_blocks]

    def is_surplus(name: str) -> bool:
        stage = re.match(r'layers\.([0-9]{1,4})\.', name)
        # Of a stage, or of the merging into one, that the backbone does not need.
        unbuilt = stage is not None and int(stage[1]) + ('.downsample.' in name) >= built
        return unbuilt or bool(_NORM.match(name)) or (partly and _block_of(name) not in our_blocks)

    def is_optional(name: str) -> bool:
        return bool(_NORM.match(name)) or (partly and _block_of(name) in report.new_blocks)

    def cause(misfits: list[str]) -> str:
        reason = cause_of(theirs, ours, module.variants, misfits, lambda arch: f'Swin-{arch[0].upper()}')
        deeper = theirs._replace(depths=ours.depths) == ours != theirs and len(theirs.depths) == len(ours.depths)
        return reason + ('; to load the blocks that both have all the same: allow_other_depths=True' if deeper else '')

    return match(
        module,
        translation.tensors,
        report,
        cause,
        is_optional,
        is_surplus,
        fit=lambda name, tensor, wanted: _fit(module, name, tensor, wanted, translation.derived),
        is_other=bool(theirs.num_heads) and theirs.num_heads != ours.num_heads,
    )


def _final_norm(module: nn.Module, translation: Translation) -> dict[str, Tensor]:
    """A classifier's norm behind its stages, under the name that it has here in a backbone that returns the last alone.

    A detector's backbone norms several stages and trains these norms anew.
    """
    last = len(module.layers) - 1
    if tuple(getattr(module, 'out_indices', ())) != (last,) or f'norm{last}.weight' in translation.tensors:
        return {}
    if len(convert.variant_of(translation.tensors).depths) != last + 1:
        return {}
    parts = {part: translation.classifier.get(f'norm.{part}') for part in ('weight', 'bias')}
    return {f'norm{last}.{part}': value for part, value in parts.items() if value is not None}


def translate_classifier(state_dict: dict[str, Any], prefix: str = '', *_hook: Any) -> None:
    """Give a whole classifier of another library the layout of mmpretrain's ImageClassifier; called by its load hook.

    What has the layout already stays as it is: the backbone translates its own part.

    Args:
        state_dict: Where the classifier's tensors lie under ``prefix``; changed to ``backbone.`` and ``head.fc.``.
        prefix: The classifier's name with a dot, or ''.

    Raises:
        CheckpointError: There is no Swin among the tensors.
    """
    own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    if not own or any(name.startswith('backbone.') for name in own):
        return
    translation = convert.translate(own)
    head = {name: value for name, value in translation.classifier.items() if name.startswith('head.')}
    norm = {name: value for name, value in translation.classifier.items() if name.startswith('norm.')}
    for name in own:
        del state_dict[prefix + name]
    backbone = {**translation.tensors, **norm}
    state_dict.update({f'{prefix}backbone.{name}': value for name, value in backbone.items()})
    state_dict.update({f'{prefix}head.fc.{name.removeprefix("head.")}': value for name, value in head.items()})


def fit(module: nn.Module, part: Mapping[str, Any], report: LoadReport) -> dict[str, Tensor]:
    """What a Swin can load of its part of a state dict, with what finds no place, which torch reports itself.

    Raises:
        CheckpointError: The part is for another network.
    """
    translation = convert.translate(part)
    _check_network(module, translation)
    token = translation.others.get('mask_token')
    if isinstance(token, Tensor) and hasattr(module, 'mask_token'):  # it is pretrained, or the run goes on
        translation.tensors['mask_token'] = token
        translation.unused[:] = [name for name in translation.unused if not name.endswith('mask_token')]
    norm = _final_norm(module, translation)
    if norm:
        translation.tensors.update(norm)
        translation.unused[:] = [name for name in translation.unused if not name.endswith(('norm.weight', 'norm.bias'))]
    report.format, report.prefix, report.unused = translation.format.name, translation.prefix, translation.unused
    return _match(module, translation, report)


def load_pretrained(module: nn.Module, init_cfg: dict | list[dict] | None) -> None:
    """Initialise a backbone as mmengine's ``init_cfg`` says; ``Pretrained`` entries come last and take any format.

    Raises:
        CheckpointError: A file cannot be read, or is for another network.
    """
    from mmengine.model import initialize

    entries = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg or [])
    pretrained = [entry for entry in entries if is_pretrained(entry.get('type'))]
    others = [entry for entry in entries if not is_pretrained(entry.get('type'))]
    if others:
        initialize(module, others)
    for entry in pretrained:
        load_weights(module, entry['checkpoint'], entry.get('prefix'), entry.get('map_location', 'cpu'))
        doubtful = module.load_report.new_blocks or module.load_report.not_finite
        level = logging.WARNING if doubtful else logging.INFO
        log(f'{type(module).__name__}: {module.load_report.table()}', level)


def is_pretrained(kind: Any) -> bool:
    """Whether a type is mmengine's initialisation from a file, by name or, in Python-style configs, as the class."""
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2] in ('Pretrained', 'PretrainedInit')


def load_weights(
    module: nn.Module, path: str | os.PathLike, prefix: str | None = None, map_location: Any = 'cpu'
) -> LoadReport:
    """Load a file of any recognised format into a backbone.

    Args:
        module: The backbone.
        path: Local path or URL.
        prefix: Take the entries below this name only, as mmengine's ``Pretrained`` does.
        map_location: Where to put the file's tensors first.

    Returns:
        What was done, also at ``module.load_report``.

    Raises:
        CheckpointError: The file cannot be read, or is for another network.
    """
    checkpoint = load_file(path, map_location)
    try:
        weights = convert.weights_of(facts(checkpoint))
    except CheckpointError as error:
        raise CheckpointError(f'{path} {error}') from None
    if prefix:
        prefix = prefix if prefix.endswith('.') else prefix + '.'
        inner = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        if not inner:
            example = next(iter(weights), None)
            raise CheckpointError(f'{path} has no entry below prefix={prefix!r}; the first is {example!r}')
        weights = inner
    module.load_source = str(path)
    try:
        module.load_state_dict(dict(weights), strict=False)
    finally:
        module.load_source = None
    return module.load_report  # pyrefly: ignore[bad-return]
