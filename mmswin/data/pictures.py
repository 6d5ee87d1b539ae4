"""Which of many image files are missing, do not decode or have another size than is said of them."""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# Those that training data come in. Pillow guesses by content and would start a program for some others.
FORMATS = ('JPEG', 'PNG', 'BMP', 'TIFF', 'WEBP', 'GIF', 'PPM', 'JPEG2000')
_EXIF_ORIENTATION = 0x0112
# How names of pictures end.
PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp', '.gif', '.ppm', '.pgm', '.jp2')
# Of a file that none of these formats is.
NO_IMAGE = 'not an image'
# Those that OpenCV loads; Pillow on its own refuses a satellite's picture of 179 million.
_MAX_PIXELS = 1 << 30
# Files looked at unless all are asked for: a second or two on a data set of any size.
SAMPLE = 200


@dataclass(frozen=True)
class Picture:
    """What is seen of an image file: width and height as mmcv loads it, Pillow's mode, what is wrong ('': nothing)."""

    size: tuple[int, int] = (0, 0)
    mode: str = ''
    fault: str = ''


def look(path: str, label_map: bool = False, decode: bool = False) -> Picture:
    """Read the header of an image file, or with ``decode`` every byte of it.

    A JPEG that was cut off is bad when it is decoded, although some decoders fill the rest with grey and say nothing.
    """
    from PIL import Image

    header = None
    try:
        if os.path.getsize(path) == 0:
            return Picture(fault='empty file')
        with Image.open(path, formats=FORMATS) as image:
            (width, height), mode = image.size, image.mode
            # mmcv turns a photograph as its EXIF data say, and never a label map. A PNG's own method would decode it.
            # Pillow has turned a TIFF already, and OpenCV turns no WebP.
            turns = not label_map and image.format in ('JPEG', 'MPO', 'PNG')
            turned = turns and Image.Image.getexif(image).get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            header = Picture((height, width) if turned else (width, height), mode)
            if decode:
                # JPEG decodes several times faster at an eighth of its size, and still reads every byte.
                image.draft('L', (max(1, width // 8), max(1, height // 8)))
                image.load()
            return header
    except FileNotFoundError:
        return Picture(fault='missing')
    except Exception as error:  # a damaged file may raise anything
        read = header or getattr(error, 'errno', None)
        return Picture(fault=str(error) or type(error).__name__) if read else Picture(fault=NO_IMAGE)


def look_at(paths: Sequence[str], label_map: bool = False, decode: bool = False) -> list[Picture]:
    """:func:`look` at many files, by as many threads as there are processors."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _MAX_PIXELS // 2  # it refuses twice as many
    try:
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            return list(pool.map(lambda path: look(path, label_map, decode), paths))
    finally:
        Image.MAX_IMAGE_PIXELS = before


def sizes_as_loaded(
    paths: Sequence[str],
    load: Callable[[dict], dict | None] | None,
    decode: bool,
    said: Mapping[str, tuple[int, int]] | None = None,
) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Width and height of pictures as a transform loads them, and what is wrong with those that do not load.

    Args:
        paths: Of the pictures.
        load: The transform. It is asked where the header is of an unknown format or has another size than is said;
            without one, such pictures are passed over: another loader may know the format, or turn them.
        decode: Read them to their end.
        said: Sizes that they should have.
    """
    sizes: dict[str, tuple[int, int]] = {}
    bad: dict[str, str] = {}
    for path, picture in zip(paths, look_at(paths, decode=decode), strict=True):
        size, fault = picture.size, picture.fault
        if fault == NO_IMAGE or (not fault and said is not None and size != said[path]):
            if load is None:
                continue
            try:
                height, width = load({'img_path': path})['img'].shape[:2]
                size, fault = (width, height), ''
            except Exception:  # the library's, of any kind
                fault = NO_IMAGE
        if fault:
            bad[path] = fault
        else:
            sizes[path] = size
    return sizes, bad


def sample(items: Sequence, every: bool) -> Sequence:
    """All of a sequence, or about ``SAMPLE`` of it, spread evenly."""
    return items if every else items[:: max(1, -(-len(items) // SAMPLE))]


def missing_files(paths: Iterable[str]) -> list[str]:
    """Those that are not there.

    Each directory that occurs is listed once, which for a hundred thousand images takes a fraction of a second where
    asking for every file takes minutes on a network file system. One whose name is there in other letters is asked for:
    file systems of Windows and macOS take ``A.JPG`` for ``a.jpg``.
    """

    def alike(name: str) -> str:
        return unicodedata.normalize('NFC', name).casefold()

    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[os.path.dirname(path)].append(path)
    missing = []
    for folder, entries in by_folder.items():
        there = folder_entries(folder)
        absent = [path for path in entries if os.path.basename(path) not in there]
        others = {alike(name) for name in there} if absent else ()
        missing += [path for path in absent if alike(os.path.basename(path)) not in others or not os.path.exists(path)]
    return missing


def folder_entries(folder: str) -> set[str]:
    """Names in a directory, none if there is no such directory."""
    try:
        return set(os.listdir(folder or '.'))
    except (OSError, ValueError):
        return set()


def files_below(directory: str) -> list[str]:
    """All files under a directory but hidden ones, relative to it and sorted; none if there is no such directory."""
    found = []
    for folder, below, names in os.walk(directory, followlinks=True):
        if folder != directory and os.path.islink(folder):
            above = os.path.join(os.path.realpath(os.path.dirname(folder)), '')
            if above.startswith(os.path.join(os.path.realpath(folder), '')):  # a link back
                below.clear()
                continue
        found += [os.path.relpath(os.path.join(folder, name), directory) for name in names if not name.startswith('.')]
    return sorted(found)


def listing(names: Iterable[object], limit: int = 8) -> str:
    """``a, b, c`` or, for a long list, its beginning and how many more there are."""
    names = [str(name) for name in names]
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
