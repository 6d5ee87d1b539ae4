"""Faults of label maps beside a COCO data set, which the semantic branch of Hybrid Task Cascade is trained on."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmswin.data.annotations import Fault
from mmswin.data.pictures import FORMATS, listing, look_at, missing_files, sample

# Maps of which the values are read: a fault of them is mostly one of all.
_READ = 40


def check_semantic_maps(
    records: Sequence[Mapping[str, Any]], directory: str, model: Mapping[str, Any], decode: bool
) -> Iterator[Fault]:
    """What is wrong with the label maps of training images; each stops the run.

    Args:
        records: What the dataset made of its images, with ``seg_map_path``, ``width`` and ``height``.
        directory: Where the maps should be.
        model: The model's configuration; its ``semantic_head`` says how many labels there may be.
        decode: Look at every map, not only at a sample.
    """
    maps = {record['seg_map_path']: (record['width'], record['height']) for record in records}
    missing = set(missing_files(maps))
    if missing:
        names = listing(os.path.relpath(path, directory) for path in maps if path in missing)
        number = (
            f'none of the {len(maps)} label maps is'
            if len(missing) == len(maps)
            else f'{len(missing)} of {len(maps)} label maps are not'
        )
        yield 'error', f'{number} in {directory!r}: {names}'
    chosen = sample([path for path in maps if path not in missing], decode)
    wrong: dict[str, str] = {}
    for path, picture in zip(chosen, look_at(chosen, label_map=True, decode=decode), strict=True):
        if picture.fault:
            wrong[path] = picture.fault
        elif picture.mode not in ('L', 'P', 'I', 'I;16', '1'):
            wrong[path] = f'{picture.mode}, not one number for each pixel'
        elif picture.size != maps[path]:
            wrong[path] = '{} x {} pixels where the image has {} x {}'.format(*picture.size, *maps[path])
    sound = [path for path in chosen if path not in wrong]
    wrong |= _strange_values(sound if decode else sound[:_READ], model)
    if wrong:
        named = listing((f'{path} ({reason})' for path, reason in wrong.items()), limit=3)
        yield 'error', f'{len(wrong)} of {len(chosen)} label maps looked at cannot be trained on: {named}'


def _strange_values(paths: Sequence[str], model: Mapping[str, Any]) -> dict[str, str]:
    from PIL import Image

    head = (model.get('roi_head') or {}).get('semantic_head') or {}
    number, ignored = head.get('num_classes'), (head.get('loss_seg') or {}).get('ignore_index', 255)
    if not number:
        return {}
    found = {}
    for path in paths:
        with Image.open(path, formats=FORMATS) as image:
            values = np.unique(np.asarray(image))
        beyond = [value for value in values.tolist() if value >= number and value != ignored]
        if beyond:
            found[path] = f'values {listing(beyond)}, and the semantic head has {number} labels from 0 on'
    return found
