"""Faults of images and label maps, for semantic segmentation and beside a COCO data set.

mmseg's dataset lists the files, and its ``LoadAnnotations`` says what the network sees in place of each value of a label
map.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmswin.data.checked_dataset import CheckedDataset
from mmswin.data.config_facts import default_arguments
from mmswin.data.pictures import files_below, listing, look_at, missing_files, sample

_COLOUR_MODES = ('RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'LA', 'PA')


@dataclass
class Labels:
    """What is seen in label maps: for each value the first map that holds it, and maps that are none, with the reason."""

    total: int
    read: int = 0
    example: dict[int, str] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    colour: dict[str, str] = field(default_factory=dict)


def check(part: CheckedDataset) -> None:
    """Check a data set that mmseg's ``BaseSegDataset`` or a child of it reads."""
    built, loader = part.built, part.step('LoadAnnotations')
    otherwise = _reduces_otherwise(part)
    records = part.taken(built.load_data_list())
    images = [record['img_path'] for record in records]
    image_dir = built.data_prefix['img_path']
    classes = built.metainfo.get('classes')
    summary = f'{len(images)} images in {image_dir}, {f"{len(classes)} classes" if classes else "unknown classes"}'
    if not images:
        _no_images(part, image_dir)
        part.summarize(summary)
        return
    maps = [record.get('seg_map_path') for record in records] if loader is not None else []
    paired = [(image, path) for image, path in zip(images, maps, strict=False) if path]
    if paired:
        _check_there(part, paired)
    sizes = part.look_at(images, (), built.ann_file or image_dir, every=True)
    if not paired:
        part.summarize(summary)
        return
    labels = _look_at(part, sizes, paired, loader.imdecode_backend)
    table = _table(part, loader)
    if table is not None and not otherwise:
        _check_values(part, labels, table)
    folder = os.path.normpath(built.data_prefix['seg_map_path'])
    part.summarize(f'{summary}; values of {labels.read} of {labels.total} label maps in {folder} read')


def _reduces_otherwise(part: CheckedDataset) -> bool:
    """Whether the configuration numbers the labels in another way than the data set's own class does."""
    kind, reduce = type(part.built), bool(part.built.reduce_zero_label)
    own = (kind.METAINFO or {}).get('classes')
    usual = bool(default_arguments(kind).get('reduce_zero_label'))
    if not own or reduce == usual or not kind.__module__.startswith('mmseg.'):  # one's own class says nothing of it
        return False
    meaning = ('0 for "not labelled" and 1 for' if usual else '0 for') + f' {own[0]}'
    effect = f'{own[0]} would be ignored' if reduce else f'"not labelled" would be taken for {own[0]}'
    part.warning(
        f"{part.where}.reduce_zero_label={reduce}, but {kind.__name__}'s label maps have {meaning}: {effect} and every "
        f'other class for {"the one before" if reduce else "the next"}. Remove it: '
        + part.option('reduce_zero_label', usual)
    )
    return True


def _no_images(part: CheckedDataset, directory: str) -> None:
    if part.built.ann_file:
        part.error(f'{part.where}.ann_file lists no images')
        return
    part.error(
        f'no image in {directory!r} ends in {part.built.img_suffix!r}; it {_endings(directory)}. Set '
        f'{part.where}.img_suffix, or {part.where}.data_prefix.img_path to the directory of the images'
    )


def _check_there(part: CheckedDataset, paired: Sequence[tuple[str, str]]) -> None:
    """Whether there is a label map for each image, and an image for each label map."""
    built, where = part.built, part.where
    map_dir, suffix = built.data_prefix['seg_map_path'], built.seg_map_suffix
    missing = [os.path.relpath(path, map_dir) for path in missing_files(path for _, path in paired)]
    if missing:
        part.error(
            f'{_missing(len(missing), len(paired))} in {map_dir!r}: {listing(missing)} '
            f'{"is" if len(missing) == 1 else "are"} missing; it {_endings(map_dir)}. mmseg looks for the name of the '
            f'image with {built.img_suffix!r} replaced by {suffix!r}: set {where}.seg_map_suffix or '
            f'{where}.data_prefix.seg_map_path, or remove the images without a label map'
        )
    if not built.ann_file:
        wanted = {os.path.relpath(path, map_dir) for _, path in paired}
        extra = [name for name in files_below(map_dir) if name.endswith(suffix) and name not in wanted]
        if extra:
            part.warning(
                f'{len(extra)} label maps in {map_dir!r} have no image in {built.data_prefix["img_path"]!r} and are not '
                f'used: {listing(extra)}'
            )


def _look_at(
    part: CheckedDataset, sizes: Mapping[str, tuple[int, int]], paired: Sequence[tuple[str, str]], backend: str
) -> Labels:
    """Values of the label maps, of a sample or of all, as mmseg's loader decodes them; what is wrong with the files is noted."""
    labels, differ = Labels(total=len(paired)), []
    for (image, path), found in zip(paired, look_at([path for _, path in paired], label_map=True), strict=True):
        if found.fault:
            if found.fault != 'missing':
                labels.bad[path] = found.fault
        elif found.mode in _COLOUR_MODES:
            labels.colour[path] = found.mode
        elif image in sizes and sizes[image] != found.size:
            (a, b), (c, d) = sizes[image], found.size
            differ.append(f'{os.path.basename(image)} has {a}x{b} pixels and its label map {c}x{d}')
    if differ:
        part.error(
            f'{len(differ)} of {len(paired)} images of {part.where} differ in size (width x height) from their label '
            f'maps: {listing(differ)}. Make them equal; label maps are resized without interpolation'
        )
    # Pillow would start a program for some contents: what has no known header is not decoded.
    readable = [path for _, path in paired if path not in labels.bad and path not in labels.colour]
    gone = set(missing_files(readable))
    chosen = sample([path for path in readable if path not in gone], part.decode)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for path, values in zip(chosen, pool.map(lambda path: values_of(path, backend), chosen), strict=True):
            if isinstance(values, str):
                labels.bad[path] = values
            elif values.ndim != 1:
                labels.colour[path] = f'{values.shape[-1]} numbers for each pixel'
            else:
                labels.read += 1
                for value in values.tolist():
                    labels.example.setdefault(value, os.path.basename(path))
    _check_kinds(part, labels)
    return labels


def values_of(path: str, backend: str) -> np.ndarray | str:
    """The values of a label map, each once; an array of more dimensions if it is none; or why it cannot be read."""
    import mmcv

    try:
        array = mmcv.imfrombytes(Path(path).read_bytes(), flag='unchanged', backend=backend).squeeze()
    except Exception as error:  # a damaged file may raise anything
        return str(error) or type(error).__name__
    if array.ndim != 2:
        return array
    if array.dtype == np.uint8:
        return np.flatnonzero(np.bincount(array.ravel(), minlength=256))
    return np.unique(array).astype(np.int64)


def _check_kinds(part: CheckedDataset, labels: Labels) -> None:
    for bad, what, remedy in (
        (labels.bad, 'do not decode', 'Restore them, or remove them and their images'),
        (labels.colour, 'are colour pictures, and a label map is one number for each pixel (the class)',
         'Write them as 8-bit grey PNG files'),
    ):  # fmt: skip
        if bad:
            named = listing(f'{path} ({reason})' for path, reason in bad.items())
            part.error(f'{len(bad)} of {labels.total} label maps {what}: {named}. {remedy}')


def _table(part: CheckedDataset, loader: Any) -> np.ndarray | None:
    """The label that mmseg's loader gives in place of each of the values 0 to 255; None where it stops."""
    import mmcv

    built = part.built
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'values.png')
        mmcv.imwrite(np.arange(256, dtype=np.uint8).reshape(16, 16), path)
        record = {'seg_map_path': path, 'seg_fields': [], 'label_map': built.label_map}
        record['reduce_zero_label'] = built.reduce_zero_label
        try:
            return loader.transform(record)['gt_seg_map'].ravel()
        except AssertionError:
            part.error(
                f'{part.where}.pipeline has LoadAnnotations(reduce_zero_label={loader.reduce_zero_label}) and the dataset '
                f'reduce_zero_label={built.reduce_zero_label}, at which mmseg stops. Remove it from LoadAnnotations'
            )
            return None


def _check_values(part: CheckedDataset, labels: Labels, table: np.ndarray) -> None:
    """Label values, through mmseg's eyes, against the classes."""
    built = part.built
    names = built.metainfo.get('classes')
    if not names or not labels.example:
        return
    head = (part.cfg.get('model') or {}).get('decode_head')
    ignored = {255, built.ignore_index, head.get('ignore_index', 255) if isinstance(head, Mapping) else 255}
    # The numbers in the files are those of the class's own classes, if it has some, whatever is trained on.
    classes, reduce = type(built).METAINFO.get('classes') or names, bool(built.reduce_zero_label)
    # mmseg keeps the lower 8 bits: the largest 16-bit number is 255 there, and others become another class.
    seen = {value: int(table[value % 256]) for value in sorted(labels.example)}
    found, used = list(seen), [value for value, label in seen.items() if label not in ignored]
    beyond = [value for value in used if seen[value] >= len(names)]
    beyond += [value for value in found if value > 255 and value != 65535 and value not in beyond]
    first, last = (1, len(classes)) if reduce else (0, len(classes) - 1)
    whole, level = labels.read == labels.total, 'error' if part.training else 'warning'  # no metric stops at a value
    number = f'all {labels.total}' if whole else f'{labels.read} of {labels.total}'
    extent = f'{number} label maps' + ('' if whole else ' (--decode of mmswin check reads all)')
    rule = (
        f'reduce_zero_label={reduce}, so the {len(classes)} classes are {first} ({classes[0]}) to {last} '
        f'({classes[-1]})' + (', 0 and 255 are ignored' if reduce else ' and 255 is ignored')
    )
    not_reduced, reduced = (part.option('reduce_zero_label', value) for value in (False, True))
    if not used and not beyond:
        level = level if whole else 'warning'
        fault = f'every pixel is ignored (values: {listing(found)})'
        has_zero = reduce and 0 in found
        remedy = f'If 0 is the class {classes[0]}: {not_reduced}' if has_zero else 'Write the classes into the maps'
    elif not reduce and set(found) == {0, 255}:
        level = level if whole and len(classes) > 1 else 'warning'
        fault = f'they hold only 0 and 255, so that nothing but {classes[0]} would be left'
        remedy = 'If these are black-and-white masks, write 1 in place of 255'
    elif not reduce and beyond == [last + 1] and 0 in found:
        fault = f'the values go from 0 to {last + 1}, one more than the {len(classes)} classes'
        remedy = (
            f'If 0 is "not labelled" and 1 is {classes[0]}, as in ADE20K: {reduced}; if 0 is a class, add its name to '
            f'{part.where}.metainfo.classes and one to num_classes of the heads'
        )
    elif beyond:
        fault = (
            f'{len(beyond)} values are beyond the classes: {listing(beyond)} (the first in {labels.example[beyond[0]]})'
        )
        remedy = (
            'Such a pixel stops training (on a GPU by a device-side assert; above 255 it is cut to 8 bits and becomes another '
            'class). Correct the classes and num_classes of the heads, or write 255 for pixels to ignore'
        )
    elif reduce and len(classes) > 1 and found[0] == 0 and used == list(range(1, len(classes))):
        level, fault = 'warning', f'the values are 0 to {len(classes) - 1}, and {last} ({classes[-1]}) never occurs'
        remedy = (
            f'If 0 is the class {classes[0]}, then it is ignored here, each other class is taken for the one before it, and '
            f'the IoU of {classes[-1]} will be nan: {not_reduced}'
        )
    else:
        return
    part.add(level, f'in {built.data_prefix["seg_map_path"]!r}, {extent} read: {fault}. {rule}. {remedy}')


def check_semantic_maps(part: CheckedDataset, records: Sequence[Mapping[str, Any]]) -> None:
    """What is wrong with the label maps beside a COCO data set, for Hybrid Task Cascade's semantic branch; each stops the run.

    Args:
        part: The data set.
        records: What it made of its images, with ``img_path``, ``seg_map_path``, ``width`` and ``height``.
    """
    directory, loader = part.built.data_prefix['seg'], part.step('LoadAnnotations')
    sizes = {record['img_path']: (record['width'], record['height']) for record in records}
    maps = {record['seg_map_path']: record['img_path'] for record in records}
    missing = dict.fromkeys(missing_files(maps))
    if missing:
        names = listing(os.path.relpath(path, directory) for path in missing)
        part.error(f'{_missing(len(missing), len(maps))} in {directory!r}: {names}')
    chosen = sample([path for path in maps if path not in missing], part.decode)
    backend = loader.imdecode_backend if loader else 'cv2'
    labels = _look_at(part, sizes, [(maps[path], path) for path in chosen], backend)
    head = ((part.cfg.get('model') or {}).get('roi_head') or {}).get('semantic_head') or {}
    number, ignored = head.get('num_classes'), (head.get('loss_seg') or {}).get('ignore_index', 255)
    beyond = [value for value in sorted(labels.example) if number and value >= number and value != ignored]
    if beyond:
        part.error(
            f'label maps in {directory!r} hold values {listing(beyond)} (the first in {labels.example[beyond[0]]}), and the '
            f'semantic head has {number} labels from 0 on'
        )


def _missing(number: int, total: int) -> str:
    return f'none of the {total} label maps is' if number == total else f'{number} of {total} label maps are not'


def _endings(directory: str) -> str:
    """What a directory holds, by the ends of the names."""
    endings = Counter(os.path.splitext(name)[1] or 'no ending' for name in files_below(directory))
    if not endings:
        return 'holds no files'
    return 'holds files with ' + ', '.join(f'{ending} ({number})' for ending, number in endings.most_common(4))
