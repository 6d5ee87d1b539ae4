"""Faults of data sets of mmpretrain that give each picture one class: folders that bear classes' names, or a list."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

from mmswin.data.checked_dataset import CheckedDataset
from mmswin.data.config_facts import build_dataset, leaf_datasets
from mmswin.data.pictures import PICTURES, folder_entries, listing, missing_files


def check(part: CheckedDataset) -> list[str]:
    """Ask the data set's own code what it finds, and look at it.

    Returns:
        Names of the classes; [] without labels, or where they are not known.
    """
    built = part.built
    source = built.ann_file or built.img_prefix
    if not built.ann_file and built.with_label and not _check_folders(part):
        return []
    try:
        records = built.load_data_list()
    except Exception as error:  # the library's, of any kind; of a list, it does not name the line
        line = _wrong_line(built) if built.ann_file and built.with_label else ''
        words = line or f'{type(error).__name__}: {str(error)[:400]}'
        part.error(f'{source} cannot be loaded by {type(built).__name__}: {words}')
        return []
    names = built.CLASSES
    labels = [record['gt_label'] for record in records] if built.with_label else []
    if names and labels and not 0 <= min(labels) <= max(labels) < len(names):
        odd = next(record for record in records if not 0 <= record['gt_label'] < len(names))
        part.error(
            f'{source} gives {odd["img_path"]} the label {odd["gt_label"]}, and there are {len(names)} classes '
            f'({listing(names)}): labels count from 0'
        )
    # A list alone does not tell the names.
    classes = list(names or map(str, range(max(labels, default=-1) + 1))) if built.with_label else []
    if built.with_label and not built.ann_file:
        folders = _folders(built.img_prefix)
        _check_empty(part, folders, labels)
        _check_order(part, folders, classes)
    if not built.ann_file:
        _check_endings(part)
    _check_indices(part, labels)
    paths = [record['img_path'] for record in part.taken(records)]
    part.look_at(paths, missing_files(paths) if built.ann_file else (), source)
    told = f', {len(classes)} classes' if classes else ''
    part.summarize(f'{len(paths)} pictures{told} in {source}')
    return classes


def _check_indices(part: CheckedDataset, labels: Sequence[int]) -> None:
    """Whether a number as ``indices``, which mmengine counts from one end of a list in the order of classes, omits some."""
    number = part.dataset.get('indices')
    if not isinstance(number, int):
        return
    taken, classes = (labels[:number] if number >= 0 else labels[number:]), {*labels}
    if len({*taken}) < len(classes):
        step, ordered = max(1, len(labels) // max(1, abs(number))), list(labels) == sorted(labels)
        part.warning(
            f'{part.where}.indices={number} takes the {"first" if number >= 0 else "last"} {len(taken)} of {len(labels)} '
            f'pictures, of {len({*taken})} of the {len(classes)} classes{", for they are listed class by class" if ordered else ""}. '
            f'For some of each: indices=list(range(0, {len(labels)}, {step})) in the config'
        )


def check_fetched(part: CheckedDataset) -> None:
    """Whether a data set of mmpretrain's that would be fetched from the network (CIFAR, MNIST) is there."""
    if not part.built._check_integrity():
        kind, fetches = type(part.built).__name__, getattr(part.built, 'download', False)
        place = next(iter(part.built.data_prefix.values()), '')
        part.add(
            'warning' if fetches else 'error',
            f'{kind} is not complete in {place!r}: '
            + ('it will be fetched when the run begins' if fetches else 'and may not be fetched')
            + f' (files and their MD5 sums as {kind} of mmpretrain lists them; another place: '
            f'--cfg-options {part.where}.data_root=DIRECTORY)',
        )


def _wrong_line(built: Any) -> str:
    """Which line of a list is no path with a number behind it."""
    with suppress(OSError), open(built.ann_file, encoding='utf-8', errors='replace') as file:
        for number, line in enumerate(file, 1):
            parts = line.strip().rsplit(' ', 1)
            if len(parts) != 2 or not parts[1].lstrip('-').isdigit():
                return f'line {number} is {line.strip()[:200]!r}, and must be a path, a space and the number of a class'
    return ''


def _check_folders(part: CheckedDataset) -> bool:
    """Whether each class has its folder: a class's number is its folder's place in the alphabet."""
    root, before = part.built.img_prefix, part.report.num_errors
    folders = _folders(root)
    if not folders:
        here = sorted(folder_entries(root))
        part.error(
            f'{root!r} holds no folders, one for each class'
            + (f' ({len(here)} files, such as {here[0]!r})' if here else '')
            + f'. Set {part.where}.data_prefix, or name a list: {part.option("ann_file", "FILE")}'
        )
        return False
    for other in () if part.training else _training_folders(part):
        trained = _folders(other)
        if trained and trained != folders:
            lacking, new = sorted({*trained} - {*folders}), sorted({*folders} - {*trained})
            told = [f'lacks {listing(lacking)}'] * bool(lacking) + [f'has besides {listing(new)}'] * bool(new)
            part.error(
                f'{root!r} has other classes than {other!r}: it {" and ".join(told)}. A class is numbered by its place among '
                'the folders, so that these pictures would be judged by wrong numbers; make the folders the same (empty ones '
                'may be)'
            )
    return part.report.num_errors == before


def _check_empty(part: CheckedDataset, folders: Sequence[str], labels: Sequence[int]) -> None:
    """Classes whose folder holds no picture."""
    built, known = part.built, {*labels}
    empty = [name for number, name in enumerate(folders) if number not in known]
    if empty:
        hidden = ' (a hidden folder counts as a class, too)' if any(name.startswith('.') for name in empty) else ''
        part.warning(
            f'{len(empty)} of {len(folders)} classes in {built.img_prefix!r} have no picture: {listing(empty)}{hidden}; files '
            f'that count end with {listing(sorted(built.extensions))}'
        )


def _check_order(part: CheckedDataset, folders: Sequence[str], classes: Sequence[str]) -> None:
    """Names that are those of the folders in another order, and would be laid over the wrong ones."""
    if list(classes) != folders and sorted(classes) == folders:
        part.error(
            f'{part.where}.metainfo.classes has the names of the folders in {part.built.img_prefix!r} in another order '
            f'({listing(classes)}): the first name would be given to the folder {folders[0]!r}, as folders are numbered in '
            'the order of the alphabet. Leave metainfo out, or name the classes in that order'
        )


def _check_endings(part: CheckedDataset) -> None:
    """Pictures that the data set passes over for how their names end."""
    root, built = part.built.img_prefix, part.built
    names = chain.from_iterable(
        names for _, _, names in os.walk(root, followlinks=True)
    )  # of millions of files, perhaps
    others = (name for name in names if not name.startswith('.') and not built.is_valid_file(name))
    passed = Counter(ending for name in others if (ending := os.path.splitext(name)[1].lower()) in PICTURES)
    if passed:
        told = listing(f'{number} of {ending}' for ending, number in sorted(passed.items()))
        more = part.option('extensions', f'"{(*sorted(built.extensions), *sorted(passed))}"'.replace("'", ''))
        part.warning(
            f'{passed.total()} pictures in {root!r} are passed over, as their names end otherwise ({told}) than with '
            f'{listing(sorted(built.extensions))}. To take them, too: {more}'
        )


def _folders(root: str) -> list[str]:
    """As mmengine lists them, hidden ones among them."""
    return [name for name in sorted(folder_entries(root)) if os.path.isdir(os.path.join(root, name))]


def _training_folders(part: CheckedDataset) -> Sequence[str]:
    """The folders of training data of the same type, where they hold a folder for each class."""
    found = []
    for _, dataset in leaf_datasets((part.cfg.get('train_dataloader') or {}).get('dataset') or {}, ''):
        if dataset.get('type') == part.dataset.get('type'):
            with suppress(Exception):  # said of the training data
                built = build_dataset(dataset, part.scope)
                found += [built.img_prefix] * (not built.ann_file)
    return [folder for folder in found if os.path.isdir(folder)]
