"""Converting a file: read, translate, prove, write."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import torch

from mmswin import atomic
from mmswin.checkpoints import convert, load_file, proof
from mmswin.checkpoints.convert import Translation
from mmswin.checkpoints.export import TARGETS, Export, export
from mmswin.checkpoints.reference_libraries import LIBRARIES
from mmswin.errors import CheckpointError, RunError, nearest, say


def _contents(exported: Export, as_safetensors: bool) -> bytes:
    if not as_safetensors:
        buffer = io.BytesIO()
        torch.save(exported.content, buffer)
        return buffer.getvalue()
    from safetensors.torch import save

    # The format has no tensors that share memory.
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in exported.tensors.items()}
    return save(tensors, metadata={'format': 'pt'})


def _check_destination(destination: Path, overwrite: bool) -> bool:
    """Whether a .safetensors file is wanted; a RunError where it cannot be written."""
    if destination.is_dir():
        raise RunError(f'{destination} is a directory: name the file to write')
    if destination.exists() and not overwrite:
        raise RunError(f'{destination} exists: give another name, or --overwrite')
    if destination.suffix != '.safetensors':
        return False
    try:
        import safetensors.torch  # noqa: F401
    except ImportError as error:
        raise RunError(
            f'writing {destination} needs the library safetensors: pip install safetensors, or name a .pth or .bin file'
        ) from error
    return True


def _prove(target: str, translation: Translation, exported: Export, say: Callable[[str], None]) -> None:
    say(f'read back  {proof.check_way_back(translation, exported)}')
    library, tensors, model = target, exported.tensors, exported.model
    if target not in LIBRARIES:  # mmswin's own names: the source's library is run instead
        library = translation.format.name.replace('openmmlab', 'mmdet')
        if library not in LIBRARIES:
            say('not run    the names stay as they are, so there is nothing to prove by running it')
            return
        original = export(exported.tensors, library)
        tensors, model = original.tensors, original.model
    say(proof.compare(translation, library, tensors, model))


def convert_file(
    source: str, destination: str | os.PathLike, target: str, overwrite: bool = False, say: Callable[[str], None] = say
) -> Export:
    """Write a checkpoint as a file of another library.

    Args:
        source: File or URL of any recognised format.
        destination: File to write; ``.safetensors`` in the name decides on that format.
        target: A key of :data:`mmswin.checkpoints.export.TARGETS`.
        overwrite: Whether an existing file may be replaced.
        say: Takes the lines of the report.

    Raises:
        RunError: The destination cannot be written, or the target is unknown.
        CheckpointError: The source cannot be read or converted, or the proof failed; nothing was written.
    """
    if target not in TARGETS:
        raise RunError(f'--to {target} is unknown{nearest(target, TARGETS)}; choose from {", ".join(TARGETS)}')
    destination = Path(destination)
    as_safetensors = _check_destination(destination, overwrite)
    checkpoint = load_file(source)
    try:
        translation = convert.translate(convert.weights_of(checkpoint))
        exported = export(checkpoint, target)
    except CheckpointError as error:
        raise CheckpointError(f'{source}: {error}') from error
    title = TARGETS[target].title
    say(f'from       {source}: {translation.format.title}')
    say(f'to         {destination}: {exported.model} of {title}, {len(exported.tensors)} tensors')
    if exported.dropped:
        shown = ', '.join(exported.dropped[:3]) + (', ...' if len(exported.dropped) > 3 else '')
        say(f'left out   {len(exported.dropped)} tensors that {title} has no place for: {shown}')
    for note in exported.notes:
        say(f'note       {note}')
    _prove(target, translation, exported, say)
    contents = _contents(exported, as_safetensors)
    atomic.write(destination, contents)
    say(f'written    {destination}, {atomic.size_text(len(contents))}')
    return exported
