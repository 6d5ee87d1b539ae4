"""Faults of label maps beside a COCO data set, which the semantic branch of Hybrid Task Cascade is trained on."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from mmswin.data.checked_dataset import CheckedDataset
from mmswin.data.label_maps import values_of
from mmswin.data.pictures import fault_of_some, listing, look_at, missing_files, sample

# Maps of which the values are read: a fault of them is mostly one of all.
_READ = 40


def check_semantic_maps(part: CheckedDataset, records: Sequence[Mapping[str, Any]]) -> None:
    """What is wrong with the label maps of training images; each stops the run.

    Args:
        part: The data set.
        records: What it made of its images, with ``seg_map_path``, ``width`` and ``height``.
    """
    directory = part.built.data_prefix['seg']
    maps = {record['seg_map_path']: (record['width'], record['height']) for record in records}
    missing = dict.fromkeys(missing_files(maps))
    if missing:
        names = listing(os.path.relpath(path, directory) for path in missing)
        part.error(f'{fault_of_some(len(missing), len(maps), "label maps")} in {directory!r}: {names}')
    chosen = sample([path for path in maps if path not in missing], part.decode)
    wrong: dict[str, str] = {}
    for path, picture in zip(chosen, look_at(chosen, label_map=True, decode=part.decode), strict=True):
        if picture.fault:
            wrong[path] = picture.fault
        elif picture.mode not in ('L', 'P', 'I', 'I;16', '1'):
            wrong[path] = f'{picture.mode}, not one number for each pixel'
        elif picture.size != maps[path]:
            wrong[path] = '{} x {} pixels where the image has {} x {}'.format(*picture.size, *maps[path])
    head = ((part.cfg.get('model') or {}).get('roi_head') or {}).get('semantic_head') or {}
    number, ignored = head.get('num_classes'), (head.get('loss_seg') or {}).get('ignore_index', 255)
    sound = [path for path in chosen if path not in wrong] if number else []
    for path in sound if part.decode else sound[:_READ]:
        beyond = [value for value in values_of(path, 'cv2').tolist() if value >= number and value != ignored]
        if beyond:
            wrong[path] = f'values {listing(beyond)}, and the semantic head has {number} labels from 0 on'
    if wrong:
        named = listing((f'{path} ({reason})' for path, reason in wrong.items()), limit=3)
        part.error(f'{len(wrong)} of {len(chosen)} label maps looked at cannot be trained on: {named}')
