"""What mmdet makes of a COCO annotation file: its own dataset and transform are given every record, and watched.

The dataset's ``parse_data_info`` and the pipeline's ``LoadAnnotations`` decide what is usable; here are words for it.
"""

import contextlib
import copy
import gc
import io
import json
import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmswin.data.pictures import listing

# What pycocotools' index and mmdet's list of categories read; parse_data_info is asked for the rest.
_KEYS = {'images': ('id',), 'annotations': ('id', 'image_id', 'category_id'), 'categories': ('id', 'name')}
# pycocotools is C: it takes a polygon or a run-length mask beyond these to be valid, and the process with it.
_MAX_COORDINATE = 1e6
_MAX_PIXELS = 1 << 27
_NO_SIZE = 'width or height is no number', 'width'


class AnnotationFileError(ValueError):
    """An annotation file that cannot be read as COCO; the message names the file and the fault."""


def read_coco(path: str) -> dict[str, list[dict[str, Any]]]:
    """Read a COCO annotation file as far as pycocotools can index it.

    Returns:
        ``images``, ``categories`` and, unless the file has none, ``annotations``.

    Raises:
        AnnotationFileError: Truncated, not JSON, or not COCO.
    """
    # Reading makes millions of objects, none of them garbage; walking them again and again doubles the time.
    was_on = gc.isenabled()
    gc.disable()
    try:
        data = _load_json(path)
    finally:
        if was_on:
            gc.enable()

    def other(what: str) -> AnnotationFileError:
        return AnnotationFileError(f'{path} is not a COCO annotation file: {what}')

    if not isinstance(data, dict):
        raise other(f'it holds a JSON {type(data).__name__}, and COCO is an object with {", ".join(_KEYS)}')
    for section, keys in _KEYS.items():
        if section not in data:
            if section == 'annotations':
                continue
            raise other(f'the list {section!r} is missing (found: {listing(data)})')
        if not isinstance(data[section], list):
            raise other(f'{section!r} is a JSON {type(data[section]).__name__}, expected a list')
        for index, entry in enumerate(data[section]):
            if not isinstance(entry, dict):
                raise other(f'{section}[{index}] is a JSON {type(entry).__name__}, expected an object')
            for key in keys:
                if key not in entry:
                    raise AnnotationFileError(f'{path}: the key {key!r} is missing (first in {section}[{index}])')
                if isinstance(entry[key], list | dict):
                    wrong = f'{section}[{index}] has {key} {reprlib.repr(entry[key])}'
                    raise AnnotationFileError(f'{path}: {wrong}, expected a number')
    return data


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
    except ValueError as error:  # a number with more digits than Python reads
        raise AnnotationFileError(f'{path} cannot be read: {error}') from error


class _MaskError(ValueError):
    """A mask that pycocotools must not see."""


@dataclass
class Judgement:
    """What a dataset makes of the records of its annotation file.

    Attributes:
        loaded: What it returned, one record for each image that it could parse.
        records: Those of them that its filter keeps.
        dropped: Reason to the annotations that are left out, or ignored for their mask.
        stops: Reason, and the key whose value shows it, to the entries at which the run would end.
        over: Images with an object that reaches more than a pixel beyond their edge.
    """

    loaded: list[dict[str, Any]] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    dropped: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    stops: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    over: list[dict[str, Any]] = field(default_factory=list)

    @property
    def usable(self) -> int:
        """Images that are kept and hold an object to learn, one that is neither a crowd nor ignored."""
        return sum(any(not one['ignore_flag'] for one in record['instances']) for record in self.records)


def judge(dataset: Any, data: Mapping[str, list[dict[str, Any]]], loader: Any = None) -> Judgement:
    """Let a dataset of mmdet load an annotation file, and note what it does with every entry.

    Args:
        dataset: A ``CocoDataset`` or a child of it, built with ``lazy_init``.
        data: What :func:`read_coco` gives.
        loader: The ``LoadAnnotations`` of its pipeline; None if it loads none.
    """
    watch = _Watch(dataset, loader)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        api = type(dataset).COCOAPI()
        api.dataset = data
        api.createIndex()
        api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
        dataset.COCOAPI = lambda path: api
        dataset.parse_data_info, dataset.ANN_ID_UNIQUE = watch, False  # said by check_ids
        loaded = dataset.load_data_list()
    result = watch.result
    dataset.data_list = result.loaded = [record for record in loaded if record is not None]
    try:
        result.records = dataset.filter_data()
    except TypeError:
        wrong = [image for image in data['images'] if not _numbers(image.get('width'), image.get('height'))]
        result.stops[_NO_SIZE] = wrong or data['images'][:1]
    return result


class _Watch:
    """Stands for a dataset's ``parse_data_info``: calls it, and the transform, and sees what becomes of each entry."""

    def __init__(self, dataset: Any, loader: Any) -> None:
        self.dataset, self.parse, self.result = dataset, dataset.parse_data_info, Judgement()
        self.loader, self.light, self.masks = None, None, bool(loader is not None and loader.with_mask)
        if loader is not None:
            self.loader, self.light = copy.copy(loader), copy.copy(loader)
            self.loader.with_seg = self.light.with_seg = self.light.with_mask = False

    def __call__(self, raw: dict[str, Any]) -> dict[str, Any] | None:
        image, annotations = raw['raw_img_info'], raw['raw_ann_info']
        try:
            record = self._ask(image, annotations, self.light)
            good = len(record['instances']) == len(annotations)
        except Exception:  # anything that the library raises ends the run
            good = False
        if not good:
            try:
                record = self._ask(image, [], self.light)
            except Exception as error:
                self.result.stops.setdefault(_why_image(image, error), []).append(image)
                return None
            # An entry alone is judged as among others.
            record['instances'] = [one for entry in annotations for one in self._one(image, entry)]
        elif self.masks:
            plain = [_plain_mask(entry.get('segmentation')) for entry in annotations]
            kept = [one for one, known in zip(record['instances'], plain, strict=True) if known]
            odd = [entry for entry, known in zip(annotations, plain, strict=True) if not known]
            record['instances'] = kept + [one for entry in odd for one in self._one(image, entry)]
        width, height = image['width'], image['height']
        for one in record['instances']:
            left, top, right, bottom = one['bbox']
            # Rounding puts many honest boxes a little over the edge; more than a pixel is another matter.
            if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:
                self.result.over.append(image)
        return record

    def _ask(self, image: dict[str, Any], annotations: list[dict[str, Any]], loader: Any) -> dict[str, Any]:
        record = self.parse({'raw_img_info': image, 'raw_ann_info': annotations})
        if loader is not None:
            loaded = loader.transform({**record, 'ori_shape': (image['height'], image['width'])})
            boxes = loaded.get('gt_bboxes')
            if boxes is not None and len(boxes) and not math.isfinite(float(getattr(boxes, 'tensor', boxes).sum())):
                raise ValueError('a box that is not finite')
        return record

    def _one(self, image: dict[str, Any], entry: dict[str, Any]) -> list[dict[str, Any]]:
        """The instance of one annotation, or none; the reason is noted."""
        segmentation = entry.get('segmentation')
        try:
            record = self._ask(image, [entry], self.light)
            if record['instances'] and self.masks and not _plain_mask(segmentation):
                if reason := _fatal(segmentation, image):
                    raise _MaskError(reason)
                before = record['instances'][0]['ignore_flag']
                record = self._ask(image, [entry], self.loader)
                if record['instances'][0]['ignore_flag'] != before:
                    self.result.dropped.setdefault('have no mask that mmdet can read', []).append(entry)
        except Exception as error:
            if _numbers(image['width'], image['height']):
                self.result.stops.setdefault(_why_stops(entry, error), []).append(entry)
            elif self.result.stops.setdefault(_NO_SIZE, [])[-1:] != [image]:  # said once for an image
                self.result.stops[_NO_SIZE].append(image)
            return []
        if not record['instances']:
            self.result.dropped.setdefault(_why_dropped(entry, image, self.dataset), []).append(entry)
        return record['instances']


def _numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _plain_mask(segmentation: Any) -> bool:
    """Polygons of three points or more, of sane numbers: known to load, which saves asking for a million of them."""
    if type(segmentation) is not list or not segmentation:
        return False
    for polygon in segmentation:
        if type(polygon) is not list or len(polygon) < 6 or len(polygon) % 2:
            return False
        if not {*map(type, polygon)} <= {int, float}:
            return False
        if not (max(polygon) < _MAX_COORDINATE and min(polygon) > -_MAX_COORDINATE and math.isfinite(sum(polygon))):
            return False
    return True


def _fatal(segmentation: Any, image: Mapping[str, Any]) -> str:
    """Why pycocotools must not see a mask: it would end the process, or take all memory. '' if it may."""
    height, width = image['height'], image['width']
    if not _numbers(height, width) or not 0 < height * width <= _MAX_PIXELS:
        return 'a mask for an image of no sane size'
    if isinstance(segmentation, dict):
        size, counts = segmentation.get('size'), segmentation.get('counts')
        if size is None or not isinstance(counts, list | str):
            return ''  # mmdet ignores these
        if not (isinstance(size, list) and len(size) == 2 and _numbers(*size) and size[0] * size[1] == height * width):
            return 'run lengths for a picture of another size than the image'
        try:
            runs = _runs(counts) if isinstance(counts, str) else counts
            if min(runs, default=0) < 0 or sum(runs) != height * width:
                return 'run lengths that do not add up to the pixels of the image'
        except (TypeError, IndexError):
            return 'run lengths that are damaged'
    for polygon in segmentation if isinstance(segmentation, list) else ():
        try:
            points = np.array(polygon, dtype=np.float64)  # as pycocotools converts it: null is nan
        except (TypeError, ValueError, OverflowError):
            continue  # it raises the same
        if not (np.abs(points) < _MAX_COORDINATE).all():
            return 'a polygon with coordinates beyond any picture'
    return ''


def _runs(text: str) -> list[int]:
    """The run lengths of COCO's compressed form: 5 bits a character, each after the second relative to the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text.encode('latin-1', 'replace'):
        code = character - 48
        value |= (code & 31) << shift
        shift += 5
        if shift > 60:  # beyond any picture; the number would only grow
            raise IndexError('too long')
        if not code & 32:
            value -= (code & 16) and (1 << shift)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift:
        raise IndexError('cut off')
    return runs


def _why_image(image: Mapping[str, Any], error: Exception) -> tuple[str, str]:
    if isinstance(error, KeyError):
        return f'the key {error} is missing', 'id'
    if not isinstance(image.get('file_name'), str):
        return 'file_name is no text', 'file_name'
    return f'{type(error).__name__}: {reprlib.repr(str(error))}', 'id'


def _why_stops(entry: Mapping[str, Any], error: Exception) -> tuple[str, str]:
    box = entry.get('bbox')
    if isinstance(error, KeyError) and error.args[0] == 'mask':
        return 'they have no segmentation, and LoadAnnotations(with_mask=True) needs masks', 'id'
    if isinstance(error, KeyError):
        return f'the key {error} is missing', 'id'
    if not isinstance(box, list) or len(box) != 4 or not _numbers(*box) or not all(abs(v) < 1e30 for v in box):
        return 'bbox is not four finite numbers, [left, top, width, height]', 'bbox'
    if not _numbers(entry.get('area')):
        return 'area is no number', 'area'
    if isinstance(error, _MaskError):
        return f'segmentation has {error}', 'segmentation'
    return 'segmentation is neither a list of polygons, each a list of numbers, nor a run-length mask', 'segmentation'


def _why_dropped(entry: Mapping[str, Any], image: Mapping[str, Any], dataset: Any) -> str:
    if entry.get('ignore'):
        return 'are marked "ignore" and are left out'
    if entry['category_id'] not in dataset.cat_ids:
        return ''  # said with the classes
    (left, top, width, height), area = entry['bbox'], entry['area']
    if not all(abs(value) < math.inf for value in entry['bbox']):  # isfinite has no answer for the largest integers
        return 'have a box that is not finite and are ignored'
    if width <= 0 or height <= 0:
        return 'have a box with a width or height of zero or less and are ignored; a box is [left, top, width, height]'
    if width < 1 or height < 1:
        return 'have a box narrower than a pixel and are ignored; coordinates are pixels, not fractions of the image'
    if area <= 0:
        return 'have an area of zero or less and are ignored'
    outside = left >= image['width'] or top >= image['height'] or left + width <= 0 or top + height <= 0
    return f'{"lie wholly outside their image" if outside else "are not for mmdet"} and are ignored'
