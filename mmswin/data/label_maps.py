"""Faults of images and label maps for semantic segmentation, in the words of somebody who has to fix them.

mmseg's dataset lists the files, and its ``LoadAnnotations`` says what the network sees in place of each value of a label
map. Faults are ``(level, message)`` with level ``'error'`` or ``'warning'``.
"""

import copy
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmswin.data.config_facts import option
from mmswin.data.pictures import check_bad_images, files_below, listing, look_at, missing_files, sample, sizes_as_loaded

Fault = tuple[str, str]
_COLOUR_MODES = ('RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'LA', 'PA')


@dataclass
class Labels:
    """What is seen in label maps: for each value the first map that holds it, and maps that are none, with the reason."""

    total: int
    read: int = 0
    example: dict[int, str] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    colour: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentationCheck:
    """The check of one dataset that mmseg's ``BaseSegDataset`` or a child of it reads."""

    cfg: Mapping[str, Any]
    where: str  # its place in the configuration
    dataset: Any  # built with lazy_init
    load: Callable[[dict], dict | None] | None  # loads its pictures, where that is known
    loader: Any  # the LoadAnnotations of its pipeline, if it has one
    training: bool
    decode: bool  # read every image and label map to its end, not only headers and a sample of the label maps
    allowed: float  # fraction of the images that its pipeline may skip

    def run(self) -> tuple[list[Fault], str]:
        """The faults, and a line on what there is."""
        records = self.dataset.load_data_list()
        images = [record['img_path'] for record in records]
        image_dir = self.dataset.data_prefix['img_path']
        classes = self.dataset.metainfo.get('classes')
        number = f'{len(classes)} classes' if classes else 'unknown classes'
        summary = f'{len(images)} images in {image_dir}, {number}'
        if not images:
            return [('error', self._no_images(image_dir))], summary
        maps = [record.get('seg_map_path') for record in records] if self.loader is not None else []
        paired = [(image, path) for image, path in zip(images, maps, strict=False) if path]
        faults = list(self._check_there(paired)) if paired else []
        sizes, bad = sizes_as_loaded(images, self.load, self.decode)
        faults += check_bad_images(bad, len(images), self.allowed, self.training, self.dataset.ann_file or image_dir)
        if not paired:
            return faults, summary
        labels = Labels(total=len(paired))
        faults += self._check_headers(sizes, paired, labels)
        table = self._table()
        self._read([path for _, path in paired], labels)
        faults += self._check_kinds(labels)
        faults += [('error', table)] if isinstance(table, str) else self._check_values(labels, table)
        folder = os.path.normpath(self.dataset.data_prefix['seg_map_path'])
        return faults, f'{summary}; values of {labels.read} of {labels.total} label maps in {folder} read'

    def _no_images(self, directory: str) -> str:
        if self.dataset.ann_file:
            return f'{self.where}.ann_file lists no images'
        return (
            f'no image in {directory!r} ends in {self.dataset.img_suffix!r}; it {_endings(directory)}. Set '
            f'{self.where}.img_suffix, or {self.where}.data_prefix.img_path to the directory of the images'
        )

    def _check_there(self, paired: Sequence[tuple[str, str]]) -> Iterator[Fault]:
        """Whether there is a label map for each image, and an image for each label map."""
        map_dir, suffix = self.dataset.data_prefix['seg_map_path'], self.dataset.seg_map_suffix
        missing = [os.path.relpath(path, map_dir) for path in missing_files(path for _, path in paired)]
        if missing:
            number = (
                f'none of the {len(paired)} label maps is'
                if len(missing) == len(paired)
                else f'{len(missing)} of {len(paired)} label maps are not'
            )
            yield (
                'error',
                f'{number} in {map_dir!r}: {listing(missing)} {"is" if len(missing) == 1 else "are"} missing; it '
                f'{_endings(map_dir)}. mmseg looks for the name of the image with {self.dataset.img_suffix!r} replaced by '
                f'{suffix!r}: set {self.where}.seg_map_suffix or {self.where}.data_prefix.seg_map_path, or remove the '
                'images without a label map',
            )
        if not self.dataset.ann_file:
            wanted = {os.path.relpath(path, map_dir) for _, path in paired}
            extra = [name for name in files_below(map_dir) if name.endswith(suffix) and name not in wanted]
            if extra:
                yield (
                    'warning',
                    f'{len(extra)} label maps in {map_dir!r} have no image in {self.dataset.data_prefix["img_path"]!r} and are not used: {listing(extra)}',
                )

    def _check_headers(
        self, sizes: Mapping[str, tuple[int, int]], paired: Sequence[tuple[str, str]], labels: Labels
    ) -> Iterator[Fault]:
        """Label maps whose size is not that of their image; those that are none are noted."""
        differ = []
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
            yield (
                'error',
                f'{len(differ)} of {len(sizes)} images of {self.where} differ in size (width x height) from their label '
                f'maps: {listing(differ)}. Make them equal; label maps are resized without interpolation',
            )

    def _read(self, paths: Sequence[str], labels: Labels) -> None:
        """Values of the label maps, of a sample or of all, as mmseg's loader decodes them."""
        import mmcv

        # Pillow would start a program for some contents: what has no known header is not decoded.
        readable = [path for path in paths if path not in labels.bad and path not in labels.colour]
        gone = set(missing_files(readable))
        chosen = sample([path for path in readable if path not in gone], self.decode)

        def values(path: str) -> list[int] | str:
            try:
                content = Path(path).read_bytes()
                array = mmcv.imfrombytes(content, flag='unchanged', backend=self.loader.imdecode_backend).squeeze()
            except Exception as error:  # a damaged file may raise anything
                return str(error) or type(error).__name__
            if array.ndim != 2:
                labels.colour[path] = f'{array.shape[-1]} numbers for each pixel'
                return []
            if array.dtype == np.uint8:
                return np.flatnonzero(np.bincount(array.ravel(), minlength=256)).tolist()
            return np.unique(array).astype(np.int64).tolist()

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for path, found in zip(chosen, pool.map(values, chosen), strict=True):
                if isinstance(found, str):
                    labels.bad[path] = found
                elif found:
                    labels.read += 1
                    for value in found:
                        labels.example.setdefault(value, os.path.basename(path))

    def _check_kinds(self, labels: Labels) -> Iterator[Fault]:
        for bad, what, remedy in (
            (labels.bad, 'do not decode', 'Restore them, or remove them and their images'),
            (labels.colour, 'are colour pictures, and mmseg needs one number for each pixel (the class)',
             'Write them as 8-bit grey or palette PNG files'),
        ):  # fmt: skip
            if bad:
                named = listing(f'{path} ({reason})' for path, reason in bad.items())
                yield 'error', f'{len(bad)} of {labels.total} label maps {what}: {named}. {remedy}'

    def _table(self) -> np.ndarray | str:
        """The label that mmseg's loader gives in place of each of the values 0 to 255, or why it stops."""
        import mmcv

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'values.png')
            mmcv.imwrite(np.arange(256, dtype=np.uint8).reshape(16, 16), path)
            record = {'seg_map_path': path, 'seg_fields': [], 'label_map': self.dataset.label_map}
            record['reduce_zero_label'] = self.dataset.reduce_zero_label
            try:
                return copy.deepcopy(self.loader).transform(record)['gt_seg_map'].ravel()
            except AssertionError:
                return (
                    f'{self.where}.pipeline has LoadAnnotations(reduce_zero_label={self.loader.reduce_zero_label}) and the '
                    f'dataset reduce_zero_label={self.dataset.reduce_zero_label}, at which mmseg stops. Remove it from '
                    'LoadAnnotations'
                )

    def _check_values(self, labels: Labels, table: np.ndarray) -> Iterator[Fault]:
        """Label values, through mmseg's eyes, against the classes."""
        names, kind = self.dataset.metainfo.get('classes'), type(self.dataset)
        if not names or not labels.example:
            return
        head = (self.cfg.get('model') or {}).get('decode_head')
        ignored = {255, self.dataset.ignore_index, head.get('ignore_index', 255) if isinstance(head, Mapping) else 255}
        # The numbers in the files are those of the class's own classes, if it has some, whatever is trained on.
        classes, reduce = kind.METAINFO.get('classes') or names, bool(self.dataset.reduce_zero_label)
        # mmseg keeps the lower 8 bits: the largest 16-bit number is 255 there, and others become another class.
        seen = {value: int(table[value % 256]) for value in sorted(labels.example)}
        found, used = list(seen), [value for value, label in seen.items() if label not in ignored]
        beyond = [value for value in used if seen[value] >= len(names)]
        beyond += [value for value in found if value > 255 and value != 65535 and value not in beyond]
        first, last = (1, len(classes)) if reduce else (0, len(classes) - 1)
        key = f'{self.where}.reduce_zero_label'
        extent = (
            f'all {labels.total} label maps'
            if labels.read == labels.total
            else f'{labels.read} of {labels.total} label maps (--decode of mmswin check reads all)'
        )
        where = f'in {self.dataset.data_prefix["seg_map_path"]!r}, {extent} read'
        rule = (
            f'reduce_zero_label={reduce}, so the {len(classes)} classes are {first} ({classes[0]}) to {last} '
            f'({classes[-1]})' + (', 0 and 255 are ignored' if reduce else ' and 255 is ignored')
        )
        if not used and not beyond:
            remedy = f'If 0 is the class {classes[0]}: {option(self.cfg, key, False)}'
            yield (
                'error' if self.training and labels.read == labels.total else 'warning',
                f'{where}: every pixel is ignored (values: {listing(found)}). {rule}. '
                + (remedy if reduce and 0 in found else 'Write the classes into the maps'),
            )
        elif not reduce and set(found) == {0, 255}:
            yield (
                'error',
                f'{where}: they hold only 0 and 255, and {rule}: nothing but {classes[0]} would be left. If these are '
                'black-and-white masks, write 1 in place of 255',
            )
        elif not reduce and beyond == [last + 1] and 0 in found:
            yield (
                'error',
                f'{where}: the values go from 0 to {last + 1}, one more than the {len(classes)} classes. {rule}. If 0 is '
                f'"not labelled" and 1 is {classes[0]}, as in ADE20K: {option(self.cfg, key, True)}; if 0 is a class, add '
                f'its name to {self.where}.metainfo.classes and one to num_classes of the heads',
            )
        elif beyond:
            yield (
                'error',
                f'{where}: {len(beyond)} values are beyond the classes: {listing(beyond)} (the first in '
                f'{labels.example[beyond[0]]}). {rule}. Such a pixel stops training (on a GPU by a device-side assert; '
                'above 255 it is cut to 8 bits and becomes another class). Correct the classes and num_classes of the '
                'heads, or write 255 for pixels to ignore',
            )
        elif reduce and len(classes) > 1 and found[0] == 0 and used == list(range(1, len(classes))):
            yield (
                'warning',
                f'{where}: the values are 0 to {len(classes) - 1}, and {last} ({classes[-1]}) never occurs. {rule}. If 0 '
                f'is the class {classes[0]}, then it is ignored here, each other class is taken for the one before it, '
                f'and the IoU of {classes[-1]} will be nan: {option(self.cfg, key, False)}',
            )


def _endings(directory: str) -> str:
    """What a directory holds, by the ends of the names."""
    endings = Counter(os.path.splitext(name)[1] or 'no ending' for name in files_below(directory))
    if not endings:
        return 'holds no files'
    return 'holds files with ' + ', '.join(f'{ending} ({number})' for ending, number in endings.most_common(4))
