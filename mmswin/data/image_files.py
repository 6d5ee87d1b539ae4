"""Which of many image files are missing or do not decode, and what that means for a run."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor


def missing_files(directory: str, names: Iterable[str]) -> list[str]:
    """Names, relative to ``directory``, that are not there.

    Each directory that occurs is listed once, which for a hundred thousand images takes a fraction of a second where
    asking for every file takes minutes on a network file system.
    """
    by_folder: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name in names:
        folder, base = os.path.split(os.path.join(directory, name))
        by_folder[folder].append((base, name))
    missing = []
    for folder, entries in by_folder.items():
        there = folder_entries(folder)
        missing += [name for base, name in entries if base not in there]
    return missing


def folder_entries(folder: str) -> set[str]:
    """Names in a directory, none if there is no such directory."""
    try:
        with os.scandir(folder or '.') as entries:
            return {entry.name for entry in entries}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def files_below(directory: str) -> list[str]:
    """All files under a directory but hidden ones, relative to it and sorted; none if there is no such directory."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), directory)
        for folder, _, names in os.walk(directory, followlinks=True)
        for name in names
        if not name.startswith('.')
    )


def listing(names: Iterable[object], limit: int = 8) -> str:
    """``a, b, c`` or, for a long list, its beginning and how many more there are."""
    names = [str(name) for name in names]
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def check_bad_images(
    directory: str, bad: Mapping[str, str], total: int, allowed: float, training: bool, source: str
) -> Iterator[tuple[str, str]]:
    """Whether a run survives its bad images, as ``(level, message)``.

    Args:
        directory: Where the names start.
        bad: Names and what is wrong with them.
        total: How many images there are.
        allowed: Fraction of them that may be skipped.
        training: Whether images may be skipped at all.
        source: What to remove the images from.
    """
    if not bad:
        return
    share = len(bad) / total
    named = listing(f'{os.path.join(directory, name)} ({reason})' for name, reason in bad.items())
    text = f'{len(bad)} of {total} images ({share:.2%}) are missing or do not decode: {named}.'
    if share <= allowed:
        yield 'warning', f'{text} Training skips them'
    elif allowed:
        yield (
            'error',
            (
                f'{text} At most {allowed:.2%} may be skipped (max_bad_fraction of mmswin.LoadImageFromFile): restore the '
                f'files or remove them from {source}'
            ),
        )
    else:
        yield (
            'error',
            (
                f'{text} This pipeline cannot skip an image: restore the files or remove them from {source}'
                + (", or load with type='mmswin.LoadImageFromFile'" if training else '')
            ),
        )


def undecodable_files(directory: str, names: Sequence[str], workers: int | None = None) -> dict[str, str]:
    """Read every image to its end; returns the reason for each that does not decode.

    A JPEG that was cut off counts as bad here, although some decoders fill the rest with grey and say nothing.

    Args:
        directory: Where the names start.
        names: Files that exist.
        workers: Threads; the number of CPUs by default.
    """
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        reasons = pool.map(lambda name: _decode_fault(os.path.join(directory, name)), names)
        return {name: reason for name, reason in zip(names, reasons, strict=True) if reason}


def _decode_fault(path: str) -> str:
    from PIL import Image, UnidentifiedImageError

    if os.path.getsize(path) == 0:
        return 'empty file'
    try:
        with Image.open(path) as image:
            # JPEG decodes several times faster at an eighth of its size, and still reads every byte.
            image.draft('L', (image.width // 8, image.height // 8))
            image.load()
    except UnidentifiedImageError:
        return 'not an image'
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error)
    return ''
