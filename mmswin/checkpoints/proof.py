"""Proof of a conversion: nothing lost on the way back, and the same features from both libraries' networks."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from mmswin.checkpoints import convert, resize
from mmswin.checkpoints.convert import Translation
from mmswin.checkpoints.export import Export
from mmswin.checkpoints.reference_libraries import (
    LIBRARIES,
    OUR_BLOCKS,
    arguments_of,
    build,
    stage_outputs,
    structure_of,
)
from mmswin.checkpoints.report import not_finite
from mmswin.errors import CheckpointError

# Of the largest value of a stage: float32 adds up in another order in each library.
TOLERANCE = 1e-5
# Networks that do not shift windows on maps that are no larger than one, where the reference does.
_NO_SHIFT_ON_SMALL_MAPS = {
    'timm', 'torchvision', 'mmpretrain', 'SwinModel', 'SwinForImageClassification', 'Swinv2Model',
    'Swinv2ForImageClassification', 'Swinv2Backbone'}  # fmt: skip


def _by_name(translation: Translation, last: int) -> dict[str, Any]:
    """All that a file holds. A network with one norm behind its stages may call it the last stage's or its own."""
    found = {**translation.tensors, **translation.classifier, **translation.others}
    if 'norm.weight' not in found:
        found = {name.replace(f'norm{last}.', 'norm.', 1) if name.startswith(f'norm{last}.') else name: value
                 for name, value in found.items()}  # fmt: skip
    return found


def check_way_back(original: Translation, exported: Export) -> str:
    """Translate a written file back and compare all that it holds with the original, to the bit.

    Returns:
        How many tensors were compared, and which were not.

    Raises:
        CheckpointError: A tensor changed, which is a fault of the conversion.
    """
    back = convert.translate(exported.tensors)
    last = len(convert.variant_of(original.tensors).depths) - 1
    before, after = _by_name(original, last), _by_name(back, last)
    count = 0
    for name in before.keys() & after.keys():
        if not isinstance(before[name], Tensor):
            continue
        a, b = before[name], after[name]
        if name == 'absolute_pos_embed' and a.shape != b.shape:
            a, b = resize.flat(a), resize.flat(b)
        if (a.dtype, a.shape) != (b.dtype, b.shape) or not torch.equal(_bytes(a), _bytes(b)):
            raise CheckpointError(f'{name} differs when it is read back: a fault of mmswin, please report it')
        count += 1
    lost = [name for name in original.tensors if name not in back.tensors and name not in exported.dropped]
    if lost := [name for name in lost if not name.startswith('norm')]:
        raise CheckpointError(f'{lost[0]} is lost on the way back: a fault of mmswin, please report it')
    summary = f'{count} tensors, equal to the bit'
    if back.derived:
        summary += f'; {len(back.derived)} more (indices and masks) follow from the window size'
    new = sorted(after.keys() - before.keys())
    return summary + (f'; not in the source, so not compared: {", ".join(new)}' if new else '')


def _bytes(tensor: Tensor) -> Tensor:
    """A tensor's bytes: NaN is not equal to itself."""
    return tensor.detach().reshape(-1).contiguous().view(torch.uint8)


def compare(translation: Translation, library: str, tensors: Mapping[str, Tensor], model: str) -> str:
    """Run a library's network and mmswin's on one image, stage by stage.

    Args:
        translation: The original file.
        library: A key of :data:`mmswin.checkpoints.reference_libraries.LIBRARIES`.
        tensors: The file for the library.
        model: What the file is, as :class:`mmswin.checkpoints.export.Export` says.

    Returns:
        A line with the largest difference, or with the reason why the library could not be run.

    Raises:
        CheckpointError: The networks differ, or the library does not take the tensors.
    """
    from mmswin.registry import MODELS

    if spoilt := not_finite(tensors):
        return _not_run(library, f'{len(spoilt)} tensors hold NaN or infinity, the first is {spoilt[0]}')
    full = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    try:
        structure = structure_of(translation)
    except CheckpointError as error:
        return _not_run(library, error)
    try:
        theirs = build(library, structure, full, model)
    except CheckpointError as error:
        raise CheckpointError(f'{library} does not take what was converted: {error}') from error
    except ImportError as error:
        return _not_run(
            library, 'it is not installed' if find_spec(library) is None else f'it cannot be imported: {error}'
        )
    except Exception as error:  # the library's own, of a structure that it does not have
        return _not_run(library, f'it cannot be run here: {str(error).partition(chr(10))[0]}')
    own = {'type': f'mmswin.{structure.network}', 'attn_backend': 'reference'}
    shifts = _NO_SHIFT_ON_SMALL_MAPS.isdisjoint({library, model})
    ours = MODELS.build({**arguments_of(structure), **own, 'shift_small_maps': shifts})
    ours.load_state_dict({**translation.tensors, **translation.derived}, strict=False)
    image = torch.rand(1, structure.channels, *structure.image, generator=torch.Generator().manual_seed(0)) * 4 - 2
    expected = stage_outputs(ours.float().eval(), OUR_BLOCKS, image)
    found = stage_outputs(theirs, LIBRARIES[library][1], image)
    named = f'{library} {import_module(library).__version__}'
    worst = max(
        float((a - b).abs().max() / b.abs().max().clamp(min=1e-30)) for a, b in zip(expected, found, strict=True)
    )
    if not worst <= TOLERANCE:
        raise CheckpointError(
            f'{named} computes other features from what was converted: they differ by '
            f'{worst:.1e} of the largest, {TOLERANCE:.0e} is allowed. Nothing is written; please report it'
        )
    return (
        f'verified   {named} computes the same features as mmswin in all {len(found)} stages, on an image '
        f'of {resize.sides(structure.image)} (they differ by {worst:.0e} of the largest value)'
    )


def _not_run(library: str, reason: object) -> str:
    return f'not run    in {library} ({reason}): the tensors are proved, the features are not'
