"""Loading of weights into a backbone: what was done, and refusal of what cannot be right."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mmswin.checkpoints import convert, resize
from mmswin.checkpoints.convert import Variant
from mmswin.checkpoints.errors import CheckpointError
from mmswin.checkpoints.files import load_file

# Of the backbone's tensors, and of the file's, this part must match; the rest may be new or left over.
MIN_MATCH = 0.9


@dataclass
class LoadReport:
    """What a load of weights did to a backbone.

    ``total`` counts the backbone's tensors without its output norms, which classifiers lack; ``loaded`` those of them
    that the file filled. ``missing`` names tensors that kept their values, output norms included, ``unexpected`` those
    of the file's backbone that found no place, ``resized`` those adapted to another window or image size, ``unused``
    what else the file held (heads and necks, stages that are not built).
    """

    format: str
    source: str = 'a state dict'
    loaded: int = 0
    total: int = 0
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """One line for a log."""
        notes = [f'{len(self.resized)} resized'] if self.resized else []
        if self.missing:
            shown = ', '.join(self.missing[:4]) + (', ...' if len(self.missing) > 4 else '')
            notes.append(f'{len(self.missing)} left as initialised ({shown})')
        if self.unexpected:
            notes.append(f'{len(self.unexpected)} of the file found no place ({", ".join(self.unexpected[:4])})')
        if self.unused:
            notes.append(f'{len(self.unused)} entries of the file not used')
        text = f'loaded {self.loaded} of {self.total} backbone tensors from {self.source} ({self.format} format)'
        return '; '.join([text, *notes])


def _is_output_norm(name: str) -> bool:
    return name.startswith('norm') and name[4:5].isdigit()


def _fit(module: nn.Module, name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """The tensor, resized if it is a position parameter for another window or image size."""
    if tensor.shape == wanted.shape:
        return tensor
    if name.endswith('relative_position_bias_table') and tensor.shape[1:] == wanted.shape[1:]:
        old = resize.table_window(tensor.shape[0])
        if old:
            return resize.resize_bias_table(tensor, old, module.get_submodule(name.rpartition('.')[0]).window)
    if name == 'absolute_pos_embed' and tensor.dim() in (3, 4):
        return resize.resize_position_embedding(tensor, tuple(wanted.shape[2:]))
    return tensor


def _shape_of(variant: Variant) -> str:
    return f'embed_dims={variant.embed_dims}, depths={variant.depths}, num_heads={variant.num_heads}'


def _cause(theirs: Variant, ours: Variant, variants: Mapping[str, Mapping[str, Any]]) -> str:
    """The likeliest reason why a Swin's weights do not fit; ``variants`` are the backbone's, by name."""

    def named(variant: Variant) -> str | None:
        for arch, values in variants.items():
            # A backbone whose last stages are not built has fewer entries.
            depths, heads = values['depths'][: len(variant.depths)], values['num_heads'][: len(variant.num_heads)]
            if (values['embed_dims'], depths, heads) == variant:
                return arch
        return None

    names = named(theirs), named(ours)
    if names[0] and names[0] != names[1]:
        config = f'the config says Swin-{names[1][0].upper()}' if names[1] else f'the config says {_shape_of(ours)}'
        return f"the file is Swin-{names[0][0].upper()}, {config}: set arch='{names[0]}'"
    if theirs != ours:
        return f'the file has {_shape_of(theirs)}, the config says {_shape_of(ours)}'
    return 'the structure agrees but the shapes of single tensors do not: look at the arguments of the backbone'


def _adapt(module: nn.Module, tensors: Mapping[str, Tensor], report: LoadReport) -> dict[str, Tensor]:
    """Sort the file's tensors into the report and return what to load, fitted to the module's shapes."""
    wanted = module.state_dict()
    built = len(module.layers)
    fitted, misfits = {}, []
    for name, tensor in tensors.items():
        if name not in wanted:
            stage = name.split('.')[1] if name.startswith('layers.') else ''
            behind = stage.isdigit() and (int(stage) >= built or (int(stage) == built - 1 and '.downsample.' in name))
            (report.unused if behind or _is_output_norm(name) else report.unexpected).append(name)
            continue
        value = _fit(module, name, tensor, wanted[name])
        if value.shape != wanted[name].shape:
            misfits.append(f'{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}')
            continue
        if value.shape != tensor.shape:
            report.resized.append(name)
        fitted[name] = value
    report.missing = [name for name in wanted if name not in fitted]
    counted = [name for name in wanted if not _is_output_norm(name)]
    report.total, report.loaded = len(counted), sum(name in fitted for name in counted)
    matched = report.loaded / max(report.total, report.loaded + len(report.unexpected) + len(misfits))
    if matched < MIN_MATCH or misfits:
        theirs = convert.variant_of(tensors)
        ours = convert.variant_of(wanted)
        theirs = theirs._replace(depths=theirs.depths[:built], num_heads=theirs.num_heads[:built])
        detail = f'; {len(misfits)} of other shape, the first is {misfits[0]}' if misfits else ''
        raise CheckpointError(
            f'only {report.loaded} of {report.total} backbone tensors of {report.source} fit{detail}. '
            f'{_cause(theirs, ours, module.variants)}'
        )
    return fitted


def translate_in_place(module: nn.Module, state_dict: dict[str, Any], prefix: str) -> LoadReport | None:
    """Replace the backbone's part of a state dict by what the module can load; called by its load hook.

    Args:
        module: The backbone, with parameters under the authors' names, its stages in ``layers`` and the table of its
            variants in ``variants``.
        state_dict: Where the backbone's part lies under ``prefix``; changed.
        prefix: The module's name with a dot, or ''.

    Returns:
        What the load will do; None if the state dict holds nothing under the prefix.

    Raises:
        CheckpointError: The part is for another network.
    """
    own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    if not own:
        return None
    source = getattr(module, 'load_source', None) or 'a state dict'
    try:
        translation = convert.translate(own)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from None
    report = LoadReport(translation.format.name, source, unused=list(translation.unused))
    fitted = _adapt(module, translation.tensors, report)
    for name in own:
        del state_dict[prefix + name]
    state_dict.update({prefix + name: value for name, value in fitted.items()})
    # torch reports these itself, as unexpected.
    state_dict.update({prefix + name: translation.tensors[name] for name in report.unexpected})
    return report


def load_pretrained(module: nn.Module, init_cfg: dict | list[dict] | None) -> None:
    """Initialise a backbone as mmengine's ``init_cfg`` says; ``Pretrained`` entries come last and take any format.

    Raises:
        CheckpointError: A file cannot be read, or is for another network.
    """
    from mmengine.logging import print_log
    from mmengine.model import initialize

    entries = [init_cfg] if isinstance(init_cfg, Mapping) else list(init_cfg or [])
    others = [entry for entry in entries if entry.get('type') != 'Pretrained']
    if others:
        initialize(module, others)
    for entry in entries:
        if entry.get('type') == 'Pretrained':
            load_weights(module, entry['checkpoint'], entry.get('prefix'), entry.get('map_location', 'cpu'))
            print_log(f'{type(module).__name__}: {module.load_report.summary()}', logger='current')


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
    weights = convert.weights_of(load_file(path, map_location))
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
    return module.load_report
