"""A COCO annotation file as arrays, or one sentence that says what is wrong with it. Needs json and numpy alone."""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_SECTIONS = ('images', 'annotations', 'categories')
_IMAGE_KEYS = ('id', 'file_name', 'width', 'height')
_CATEGORY_KEYS = ('id', 'name')
# mmdet reads the area of every annotation, and pycocotools that of every one that is evaluated.
_ANNOTATION_KEYS = ('id', 'image_id', 'category_id', 'bbox', 'area')


class AnnotationFileError(ValueError):
    """An annotation file that cannot be read as COCO; the message names the file and the fault."""


@dataclass(frozen=True)
class CocoFile:
    """Contents of a COCO annotation file of I images, N annotations and K categories.

    Attributes:
        path: Where it was read.
        images, annotations, categories: The entries as they stand in the file.
        sizes: I x 2 widths and heights in pixels.
        image_index: For each annotation the position of its image in ``images``, -1 if there is none.
        category_index: For each annotation the position of its category in ``categories``, -1 if there is none.
        boxes: N x 4 left, top, width, height in pixels.
        areas: N areas.
        crowd: N flags.
        unlabelled: The file has no ``annotations`` at all (COCO's test-dev, for example).
    """

    path: str
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    sizes: np.ndarray
    image_index: np.ndarray
    category_index: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    unlabelled: bool

    @property
    def category_names(self) -> list[str]:
        """Names of the categories in the order of the file, which is the order of mmdet's labels."""
        return [category['name'] for category in self.categories]

    @property
    def box_visible(self) -> np.ndarray:
        """Which annotations mmdet keeps for their boxes: at least a pixel wide and high, partly inside the image."""
        size = (
            np.where(self.image_index[:, None] >= 0, self.sizes[self.image_index], 0)
            if len(self.sizes)
            else np.zeros((len(self.boxes), 2))
        )
        left_top, extent = self.boxes[:, :2], self.boxes[:, 2:]
        inside = np.minimum(left_top + extent, size) - np.maximum(left_top, 0)
        return (extent >= 1).all(1) & (inside > 0).all(1) & (self.areas > 0)


def read_coco(path: str, may_lack_annotations: bool = False) -> CocoFile:
    """Read a COCO annotation file.

    Args:
        path: A local JSON file, which must exist.
        may_lack_annotations: Accept a file without ``annotations`` (images to predict on).

    Raises:
        AnnotationFileError: Truncated, not JSON, or not COCO.
    """
    with _garbage_collection_paused():
        return _parse(path, _load_json(path), may_lack_annotations)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Reading makes millions of objects, none of them garbage; walking them again and again doubles the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _parse(path: str, data: Any, may_lack_annotations: bool) -> CocoFile:
    if not isinstance(data, dict):
        raise AnnotationFileError(
            f'{path} is not a COCO annotation file: it holds a JSON {type(data).__name__}, and COCO is an object with '
            f'{", ".join(_SECTIONS)}'
        )
    unlabelled = may_lack_annotations and 'annotations' not in data
    for section in _SECTIONS:
        if section == 'annotations' and unlabelled:
            continue
        if not isinstance(data.get(section), list):
            found = ', '.join(map(str, list(data)[:8])) or 'nothing'
            raise AnnotationFileError(
                f'{path} is not a COCO annotation file: the list {section!r} is missing (found: {found})'
            )
    images, categories, annotations = data['images'], data['categories'], data.get('annotations', [])
    _require(path, 'images', images, _IMAGE_KEYS)
    _require(path, 'categories', categories, _CATEGORY_KEYS)
    _require(path, 'annotations', annotations, _ANNOTATION_KEYS)

    image_at = {image['id']: index for index, image in enumerate(images)}
    category_at = {category['id']: index for index, category in enumerate(categories)}
    return CocoFile(
        path=path,
        images=images,
        annotations=annotations,
        categories=categories,
        sizes=_numbers(path, 'images', 'width and height', [(i['width'], i['height']) for i in images], 2),
        image_index=np.array([image_at.get(a['image_id'], -1) for a in annotations], dtype=np.int64),
        category_index=np.array([category_at.get(a['category_id'], -1) for a in annotations], dtype=np.int64),
        boxes=_numbers(path, 'annotations', 'bbox', [a['bbox'] for a in annotations], 4),
        areas=_numbers(path, 'annotations', 'area', [(a['area'],) for a in annotations], 1)[:, 0],
        crowd=np.array([bool(a.get('iscrowd', 0)) for a in annotations], dtype=bool),
        unlabelled=unlabelled,
    )


def _load_json(path: str) -> Any:
    size = Path(path).stat().st_size
    if size == 0:
        raise AnnotationFileError(f'{path} is empty (0 bytes); fetch or write it again')
    try:
        with open(path, encoding='utf-8') as file:
            return json.load(file)
    except UnicodeDecodeError as error:
        with open(path, 'rb') as file:
            kind = 'a zip archive, unpack it' if file.read(2) == b'PK' else 'not text'
        raise AnnotationFileError(f'{path} is not JSON: it is {kind}') from error
    except json.JSONDecodeError as error:
        # A cut file is at fault at its very end, or inside a string that begins before the end and never closes.
        if error.pos >= len(error.doc.rstrip()) - 1 or error.msg.startswith('Unterminated string'):
            raise AnnotationFileError(
                f'{path} is truncated: the JSON text ends in the middle, after {size} bytes (an interrupted download '
                'or copy?); fetch or write it again'
            ) from error
        raise AnnotationFileError(
            f'{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}'
        ) from error
    except RecursionError as error:
        raise AnnotationFileError(f'{path} is not a COCO annotation file: its JSON is nested too deeply') from error


def _require(path: str, section: str, entries: Sequence[Any], keys: tuple[str, ...]) -> None:
    wanted = set(keys)
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise AnnotationFileError(
                f'{path} is not a COCO annotation file: {section}[{index}] is a JSON {type(entry).__name__}, expected '
                'an object'
            )
        if not wanted <= entry.keys():
            missing = next(key for key in keys if key not in entry)
            number = sum(1 for other in entries if isinstance(other, dict) and missing not in other)
            raise AnnotationFileError(
                f'{path}: the key {missing!r} is missing in {number} of {len(entries)} {section} (first in '
                f'{section}[{index}]); COCO needs {", ".join(keys)} in each'
            )


def _numbers(path: str, section: str, what: str, rows: Sequence[Any], columns: int) -> np.ndarray:
    """The rows as a float array of finite numbers with ``columns`` columns."""
    if not rows:
        return np.zeros((0, columns))
    try:
        array = np.array(rows, dtype=np.float64).reshape(len(rows), -1)
        good = array.shape[1] == columns
    except (TypeError, ValueError):
        good = False
    if good and np.isfinite(array).all():
        return array
    index = next(i for i, row in enumerate(rows) if not _is_row(row, columns))
    raise AnnotationFileError(
        f'{path}: {section}[{index}] has {what} {rows[index]!r}, expected {columns} finite number'
        f'{"s" if columns > 1 else ""}'
    )


def _is_row(row: Any, columns: int) -> bool:
    try:
        array = np.array(row, dtype=np.float64)
    except (TypeError, ValueError):
        return False
    return array.shape == (columns,) and bool(np.isfinite(array).all())
