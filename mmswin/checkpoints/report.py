"""What a load of weights did, and refusal of what cannot be right."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmswin.errors import CheckpointError, printable

# Of the backbone's tensors, and of the file's, this part must match; the rest may be new or left over.
MIN_MATCH = 0.9
_SHOWN = 3
# By a part of a tensor's name the argument that its shape depends on.
_ARGUMENTS = {'mlp.fc': 'mlp_ratio', 'patch_embed.proj': 'patch_size', 'position_bias_table': 'window_size',
              'spatial_mlp': 'window_size', 'pos_embed': 'pretrain_img_size'}  # fmt: skip
Variants = Mapping[str, Mapping[str, Any]]


def log(text: str, level: int = logging.INFO) -> None:
    """Say something in the log of the run, if there is one, else on the terminal; escaped."""
    from mmengine.logging import print_log

    print_log('\n'.join(printable(line, 4000) for line in text.split('\n')), logger='current', level=level)


def not_finite(tensors: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    spoilt = []
    for name, tensor in tensors.items():
        if isinstance(tensor, Tensor) and not tensor.is_meta and (tensor.is_floating_point() or tensor.is_complex()):
            # Numbers of eight bits are not asked for it.
            wide = tensor.float() if tensor.dtype.itemsize == 1 else tensor
            if not bool(wide.isfinite().all()):
                spoilt.append(name)
    return spoilt


@dataclass
class LoadReport:
    """What a load of weights did to a backbone.

    ``total`` counts the backbone's tensors without its output norms, which classifiers lack; ``loaded`` those of them
    that the file filled. ``missing`` names tensors that kept their values, output norms included, ``unexpected`` those
    of the file's backbone that found no place, ``resized`` those adapted to another window, image size or number of
    channels (``changes`` says so in words), ``unused`` what else the file held (heads and necks, stages that are not
    built). ``new_blocks`` are blocks that the file does not have, ``not_finite`` tensors that were loaded with NaN or
    infinity in them. ``prefix`` stood before the backbone's names.
    """

    format: str
    source: str = 'a state dict'
    prefix: str = ''
    loaded: int = 0
    total: int = 0
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    new_blocks: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    not_finite: list[str] = field(default_factory=list)

    def _parts(self) -> list[str]:
        """The counts, and the first names of each."""
        below = f', below {self.prefix!r}' if self.prefix else ''
        parts = [
            f'loaded {self.loaded} of {self.total} backbone tensors from {self.source} ({self.format} format{below})'
        ]
        for what, names in {
            'HOLD NAN OR INFINITY': self.not_finite,
            ', '.join(['resized', *self.changes]): self.resized,
            'left as initialised': self.missing,
            'blocks are new and random': self.new_blocks,
            'of the file found no place': self.unexpected,
            'entries of the file not used': self.unused,
        }.items():
            shown = [printable(name, 100) for name in names[:_SHOWN]] + ['...'] * (len(names) > _SHOWN)
            parts += [f'{len(names)} {what} ({", ".join(shown)})'] if names else []
        return parts

    def summary(self) -> str:
        """One line for a log."""
        return '; '.join(self._parts())

    def table(self) -> str:
        """Several lines for a log."""
        return '\n  '.join(self._parts())


def replace_part(
    module: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    fit: Callable[[nn.Module, dict[str, Any], LoadReport], dict[str, Tensor]],
) -> LoadReport | None:
    """Replace a backbone's part of a state dict by what it can load; called by its load hook.

    Args:
        module: The backbone.
        state_dict: Where the backbone's part lies under ``prefix``; changed.
        prefix: The module's name with a dot, or ''.
        fit: Gives what to load of the part, its names without the prefix, and fills the report.

    Returns:
        What the load will do; None if the state dict holds nothing under the prefix.

    Raises:
        CheckpointError: The part is for another network.
    """
    own = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    if not own:
        return None
    report = LoadReport('', getattr(module, 'load_source', None) or 'a state dict')
    try:
        loaded = fit(module, own, report)
    except CheckpointError as error:
        raise CheckpointError(f'{report.source}: {error}') from None
    for name in own:
        del state_dict[prefix + name]
    state_dict.update({prefix + name: tensor for name, tensor in loaded.items()})
    return report


def match(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    report: LoadReport,
    cause: Callable[[list[str]], str],
    is_optional: Callable[[str], bool],
    is_surplus: Callable[[str], bool] = lambda name: False,
    fit: Callable[[str, Tensor, Tensor], tuple[Tensor, str]] = lambda name, tensor, wanted: (tensor, ''),
    is_other: bool = False,
) -> dict[str, Tensor]:
    """Sort a file's tensors into the report.

    Args:
        module: The backbone.
        tensors: By the backbone's names.
        report: Changed.
        cause: Says why they do not fit, given the tensors of other shapes with both shapes.
        is_optional: Whether the backbone's tensor of a name may be missing.
        is_surplus: Whether what the backbone has no place for may be left over.
        fit: Fits the file's tensor of a name to the backbone's, and says in words what was done.
        is_other: Whether they are another network's although they fit.

    Returns:
        The tensors to load, with what finds no place, which torch reports itself.

    Raises:
        CheckpointError: They are for another network.
    """
    wanted = module.state_dict()
    fitted: dict[str, Tensor] = {}
    misfits = []
    for name, tensor in tensors.items():
        if name not in wanted:
            (report.unused if is_surplus(name) else report.unexpected).append(name)
            continue
        try:
            value, change = fit(name, tensor, wanted[name])
        except ValueError as error:
            raise CheckpointError(f'{name} cannot be fitted: {error}') from None
        if value.shape != wanted[name].shape:
            misfits.append(f'{name} {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}')
            continue
        if change:
            report.resized.append(name)
            report.changes = list(dict.fromkeys([*report.changes, change]))
        fitted[name] = value
    report.missing = [name for name in wanted if name not in fitted]
    counted = [name for name in wanted if not is_optional(name)]
    report.total, report.loaded = len(counted), sum(name in fitted for name in counted)
    matched = report.loaded / max(report.total, report.loaded + len(report.unexpected) + len(misfits))
    if matched < MIN_MATCH or misfits or is_other:
        text = f'the weights do not fit: they fill {report.loaded} of the {report.total} backbone tensors'
        text += f'; {len(report.unexpected)} of the file find no place' if report.unexpected else ''
        text += f'; {len(misfits)} of other shape, the first is {misfits[0]}' if misfits else ''
        raise CheckpointError(f'{text}. {cause(misfits)}')
    report.not_finite = not_finite(fitted)
    return fitted | {name: tensors[name] for name in report.unexpected}


# ------------------------------------------------------------------ structures, in words


def words_of(structure: NamedTuple) -> str:
    """The arguments that make a structure."""
    return ', '.join(f'{key}={value}' for key, value in structure._asdict().items())


def name_of(structure: NamedTuple, variants: Variants) -> str | None:
    """The name under which a backbone knows a structure; one whose last stages are not built has fewer entries."""
    for arch, values in variants.items():
        pairs = [(values[key], value) for key, value in structure._asdict().items()]
        if all((known[: len(value)] if isinstance(value, tuple) else known) == value for known, value in pairs):
            return arch
    return None


def cause_of(
    theirs: NamedTuple, ours: NamedTuple, variants: Variants, misfits: list[str], title: Callable[[str], str] = str
) -> str:
    """The likeliest reason why a file's structure does not fit; ``title`` gives a variant's name in words."""
    if theirs == ours:
        named = [argument for part, argument in _ARGUMENTS.items() if any(part in misfit for misfit in misfits)]
        look = ' and '.join(named) or 'the arguments of the backbone'
        return f'the structure agrees but the shapes of single tensors do not: look at {look}'
    names = name_of(theirs, variants), name_of(ours, variants)
    if names[0] and names[0] != names[1]:
        file, config = (title(name) if name else words_of(ours) for name in names)
        return f"the file is {file}, the config says {config}: set arch='{names[0]}'"
    return f'the file has {words_of(theirs)}, the config says {words_of(ours)}'
