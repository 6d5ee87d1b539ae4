"""Faults of images and label maps for semantic segmentation, in the words of somebody who has to mend them.

The checks yield ``(level, message)`` with level ``'error'`` or ``'warning'``. Needs numpy and Pillow alone. The rule
for label values is mmseg's: with ``reduce_zero_label`` 0 is ignored and 1 is the first class, without it 0 is the first
class; 255 is ignored either way.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from mmswin.data.image_files import files_below, listing, missing_files

IGNORED = 255
# Label maps whose values are read by default: about a second's work on a data set of any size.
SAMPLE = 200
_EXIF_ORIENTATION = 0x0112
_COLOUR_MODES = ('RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'LA', 'PA')


@dataclass(frozen=True)
class Pairs:
    """The images of a dataset and the label maps that belong to them.

    Attributes:
        where: Place of the dataset in the configuration.
        image_dir, map_dir: Directories; ``map_dir`` is '' where there are no label maps.
        names: Images, relative to ``image_dir``.
        maps: Label map of each image, relative to ``map_dir``.
        image_suffix, map_suffix: How their names end.
        from_list: The names come from an annotation file, not from the directory.
    """

    where: str
    image_dir: str
    map_dir: str
    names: list[str]
    maps: list[str]
    image_suffix: str
    map_suffix: str
    from_list: bool


@dataclass
class Labels:
    """Values that occur in label maps.

    Attributes:
        maps: For each value the number of maps that hold it.
        example: For each value the first map that holds it.
        read: Maps that were read.
        total: Maps that there are.
    """

    maps: Counter = field(default_factory=Counter)
    example: dict[int, str] = field(default_factory=dict)
    read: int = 0
    total: int = 0

    @property
    def extent(self) -> str:
        """How many maps were read, in words."""
        return (
            f'all {self.total} label maps'
            if self.read == self.total
            else (f'{self.read} of {self.total} label maps (--decode of tools/check_data.py reads all)')
        )


def pair_files(
    where: str, image_dir: str, map_dir: str, image_suffix: str, map_suffix: str, ann_file: str = ''
) -> Pairs:
    """Images and label maps as mmseg pairs them: by the lines of ``ann_file``, else by what is below ``image_dir``."""
    if ann_file:
        with open(ann_file, encoding='utf-8') as file:
            stems = [line.strip() for line in file]
    else:
        stems = [
            name[: len(name) - len(image_suffix)] for name in files_below(image_dir) if name.endswith(image_suffix)
        ]
    return Pairs(
        where,
        image_dir,
        map_dir,
        [stem + image_suffix for stem in stems],
        [stem + map_suffix for stem in stems] if map_dir else [],
        image_suffix,
        map_suffix,
        bool(ann_file),
    )


def check_there(pairs: Pairs) -> Iterator[tuple[str, str]]:
    """Whether there are images, and a label map for each."""
    if not pairs.names:
        if pairs.from_list:
            yield 'error', f'{pairs.where}.ann_file lists no images'
        else:
            yield (
                'error',
                (
                    f'no image in {pairs.image_dir!r} ends in {pairs.image_suffix!r}; it {_endings(pairs.image_dir)}. Set '
                    f'{pairs.where}.img_suffix, or {pairs.where}.data_prefix.img_path to the directory of the images'
                ),
            )
        return
    if not pairs.map_dir:
        return
    missing = missing_files(pairs.map_dir, pairs.maps)
    if missing:
        number = (
            f'none of the {len(pairs.maps)} label maps is'
            if len(missing) == len(pairs.maps)
            else (f'{len(missing)} of {len(pairs.maps)} label maps are not')
        )
        yield (
            'error',
            (
                f'{number} in {pairs.map_dir!r}: {listing(missing)} {"is" if len(missing) == 1 else "are"} missing; it '
                f'{_endings(pairs.map_dir)}. mmseg looks for the name of the image with {pairs.image_suffix!r} replaced by '
                f'{pairs.map_suffix!r}: set {pairs.where}.seg_map_suffix or {pairs.where}.data_prefix.seg_map_path, or '
                'remove the images without a label map'
            ),
        )
    if not pairs.from_list:
        wanted = set(pairs.maps)
        extra = [name for name in files_below(pairs.map_dir) if name.endswith(pairs.map_suffix) and name not in wanted]
        if extra:
            yield (
                'warning',
                (
                    f'{len(extra)} label maps in {pairs.map_dir!r} have no image in {pairs.image_dir!r} and are not used: '
                    + listing(extra)
                ),
            )


def _endings(directory: str) -> str:
    """What a directory holds, by the ends of the names."""
    endings = Counter(os.path.splitext(name)[1] or 'no ending' for name in files_below(directory))
    if not endings:
        return 'holds no files'
    return 'holds files with ' + ', '.join(f'{ending} ({number})' for ending, number in endings.most_common(4))


@dataclass(frozen=True)
class _Header:
    """Size as mmcv loads it, mode, and what is wrong with a file ('' if nothing is)."""

    size: tuple[int, int] = (0, 0)
    mode: str = ''
    fault: str = ''


def _read_header(path: str, is_map: bool) -> _Header:
    from PIL import Image, UnidentifiedImageError

    try:
        if os.path.getsize(path) == 0:
            return _Header(fault='empty file')
        with Image.open(path) as image:
            width, height = image.size
            # mmcv turns a photograph as its EXIF data say, and never a label map.
            turned = not is_map and image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
            return _Header((height, width) if turned else (width, height), image.mode)
    except UnidentifiedImageError:
        return _Header(fault='not an image')
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _Header(fault=str(error))


def check_headers(pairs: Pairs, bad_images: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Sizes and kinds of files from their headers; files of images that cannot be read are put into ``bad_images``."""
    missing = set(missing_files(pairs.image_dir, pairs.names))
    bad_images |= dict.fromkeys((name for name in pairs.names if name in missing), 'missing')
    there = [index for index, name in enumerate(pairs.names) if name not in missing]
    images = _headers([os.path.join(pairs.image_dir, pairs.names[index]) for index in there], is_map=False)
    bad_images |= {
        pairs.names[index]: header.fault for index, header in zip(there, images, strict=True) if header.fault
    }
    if not pairs.map_dir:
        return
    no_map = set(missing_files(pairs.map_dir, pairs.maps))
    sizes = {index: header.size for index, header in zip(there, images, strict=True) if not header.fault}
    with_map = [index for index, name in enumerate(pairs.maps) if name not in no_map]
    maps = _headers([os.path.join(pairs.map_dir, pairs.maps[index]) for index in with_map], is_map=True)
    bad, colour, differ = {}, {}, {}
    for index, header in zip(with_map, maps, strict=True):
        if header.fault:
            bad[pairs.maps[index]] = header.fault
        elif header.mode in _COLOUR_MODES:
            colour[pairs.maps[index]] = header.mode
        elif index in sizes and sizes[index] != header.size:
            differ[pairs.names[index]] = (sizes[index], header.size)
    if bad:
        yield 'error', _unreadable(pairs, bad)
    if colour:
        yield (
            'error',
            (
                f'{len(colour)} of {len(pairs.maps)} label maps are colour pictures, and mmseg needs one number for each '
                f'pixel (the class): {_named(pairs.map_dir, colour)}. Write them as 8-bit grey or palette PNG files'
            ),
        )
    if differ:
        parts = (
            f'{name} has {image[0]}x{image[1]} pixels and its label map {found[0]}x{found[1]}'
            for name, (image, found) in differ.items()
        )
        yield (
            'error',
            (
                f'{len(differ)} of {len(pairs.names)} images in {pairs.image_dir!r} differ in size (width x height) from '
                f'their label maps in {pairs.map_dir!r}: {listing(parts)}. Make them equal; label maps are resized without '
                'interpolation'
            ),
        )


def _headers(paths: Sequence[str], is_map: bool) -> list[_Header]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda path: _read_header(path, is_map), paths))


def _named(directory: str, faults: dict[str, str]) -> str:
    return listing(f'{os.path.join(directory, name)} ({reason})' for name, reason in faults.items())


def _unreadable(pairs: Pairs, bad: dict[str, str]) -> str:
    return (
        f'{len(bad)} of {len(pairs.maps)} label maps do not decode: {_named(pairs.map_dir, bad)}. Restore them, or '
        'remove them and their images'
    )


def read_labels(pairs: Pairs, every: bool) -> tuple[Labels, list[tuple[str, str]]]:
    """Values of the label maps, of a sample spread evenly or of all, and the faults of those that do not decode."""
    no_map = set(missing_files(pairs.map_dir, pairs.maps))
    there = [name for name in pairs.maps if name not in no_map]
    step = 1 if every else max(1, -(-len(there) // SAMPLE))
    chosen = there[::step]
    labels, bad = Labels(total=len(there)), {}
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = pool.map(lambda name: _values(os.path.join(pairs.map_dir, name)), chosen)
        for name, found in zip(chosen, results, strict=True):
            if isinstance(found, str):
                bad[name] = found
                continue
            labels.read += 1
            for value in found:
                labels.maps[value] += 1
                labels.example.setdefault(value, name)
    # What the header shows is said there.
    bad = {name: fault for name, fault in bad.items() if fault}
    return labels, [('error', _unreadable(pairs, bad))] if bad else []


def _values(path: str) -> list[int] | str:
    """The different values of a label map, or why there are none ('' where the header tells already)."""
    from PIL import Image

    header = _read_header(path, is_map=True)
    if header.fault or header.mode in _COLOUR_MODES:
        return ''
    try:
        with Image.open(path) as image:
            array = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        return str(error)
    if array.dtype == np.uint8:
        return np.flatnonzero(np.bincount(array.ravel(), minlength=256)).tolist()
    # mmseg keeps the lower 8 bits, so the largest 16-bit number is 255 there.
    return sorted({IGNORED if value == 65535 else value for value in np.unique(array).astype(np.int64).tolist()})


def check_labels(
    labels: Labels, pairs: Pairs, classes: Sequence[str], reduce: bool, training: bool
) -> Iterator[tuple[str, str]]:
    """Label values against the classes of the dataset and ``reduce_zero_label``.

    Args:
        labels: What :func:`read_labels` found.
        pairs: The files.
        classes: Names that the label maps number, in their order (before any of them are left out).
        reduce: ``reduce_zero_label``: whether the maps number from 1 and 0 is not labelled.
        training: Whether every class has to occur for the data to be of use.
    """
    found, number = sorted(labels.maps), len(classes)
    if not found:
        return
    option = f'--cfg-options {pairs.where}.reduce_zero_label'
    used = [value for value in found if value != IGNORED and not (reduce and value == 0)]
    first, last = (1, number) if reduce else (0, number - 1)
    beyond = [value for value in used if not first <= value <= last]
    where = f'in {pairs.map_dir!r}, {labels.extent} read'
    rule = (
        f'reduce_zero_label={reduce}, so the {number} classes are {first} ({classes[0]}) to {last} '
        f'({classes[-1]})' + (', 0 and 255 are ignored' if reduce else ' and 255 is ignored')
    )
    if not used:
        yield (
            'error',
            f'{where}: every pixel is ignored (values: {listing(found)}). {rule}. '
            + (f'If 0 is the class {classes[0]}: {option}=False' if 0 in found else 'Write the classes into the maps'),
        )
    elif not reduce and set(found) == {0, IGNORED}:
        yield (
            'error',
            (
                f'{where}: they hold only 0 and 255, and {rule}: nothing but {classes[0]} would be left. If these are '
                'black-and-white masks, write 1 in place of 255'
            ),
        )
    elif not reduce and beyond == [number] and labels.maps[0]:
        yield (
            'error',
            (
                f'{where}: the values go from 0 to {number}, one more than the {number} classes. {rule}. If 0 is "not '
                f'labelled" and 1 is {classes[0]}, as in ADE20K: {option}=True; if 0 is a class, add its name to '
                f'{pairs.where}.metainfo.classes and one to num_classes of the heads'
            ),
        )
    elif beyond:
        yield (
            'error',
            (
                f'{where}: {len(beyond)} values are beyond the classes: {listing(beyond)} (the first in '
                f'{labels.example[beyond[0]]}). {rule}. Such a pixel stops training (on a GPU by a device-side assert; '
                'above 255 it is cut to 8 bits and becomes another class). Correct the classes and num_classes of the '
                'heads, or write 255 for pixels to ignore'
            ),
        )
    elif reduce and number > 1 and used == list(range(1, number)) and 0 in found:
        yield (
            'error' if training and labels.read == labels.total else 'warning',
            (
                f'{where}: the values are 0 to {number - 1}, and {last} ({classes[-1]}) never occurs. {rule}. If 0 is the '
                f'class {classes[0]}, then it is ignored here, each other class is taken for the one before it, and the '
                f'IoU of {classes[-1]} will be nan: {option}=False'
            ),
        )
