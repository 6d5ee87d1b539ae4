"""Faults of data sets of mmpretrain that give each picture one class: folders that bear classes' names, or a list."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmswin.data.config_facts import build_dataset, dataset_facts, leaf_datasets, max_bad_fraction, option, type_name
from mmswin.data.pictures import check_bad_images, folder_entries, listing, look_at, missing_files, sample


def check(
    cfg: Mapping[str, Any], where: str, dataset: Mapping[str, Any], built: Any, training: bool, decode: bool
) -> tuple[list[tuple[str, str]], str, list[str]]:
    """Ask the data set's own code what it finds, and look at it.

    Args:
        cfg: The whole configuration.
        where: The data set's place in it.
        dataset: Its configuration.
        built: The data set, of a class of mmpretrain, not loaded.
        training: Whether it is trained on.
        decode: Read every picture to its end.

    Returns:
        Faults as (level, message), a line on what is there ('' if it cannot be loaded), the classes ([] without labels).
    """
    source = built.ann_file or built.img_prefix
    faults = (
        [] if built.ann_file or not built.with_label else list(_check_folders(cfg, where, dataset, built, training))
    )
    if any(level == 'error' for level, _ in faults):
        return faults, '', []
    try:
        records = built.load_data_list()
    except Exception as error:  # the library's, of any kind; of a list, it does not name the line
        line = _wrong_line(built) if built.ann_file and built.with_label else ''
        words = line or f'{type(error).__name__}: {str(error)[:400]}'
        return [*faults, ('error', f'{source} cannot be loaded by {type(built).__name__}: {words}')], '', []
    names = built.CLASSES
    labels = [record['gt_label'] for record in records] if built.with_label else []
    if names and labels and not 0 <= min(labels) <= max(labels) < len(names):
        odd = next(record for record in records if not 0 <= record['gt_label'] < len(names))
        faults.append(
            (
                'error',
                f'{source} gives {odd["img_path"]} the label {odd["gt_label"]}, and there are {len(names)} classes '
                f'({listing(names)}): labels count from 0',
            )
        )
    # A list alone does not tell the names.
    classes = list(names or map(str, range(max(labels, default=-1) + 1))) if built.with_label else []
    faults += _left_out(where, dataset.get('indices'), labels)
    paths = [record['img_path'] for record in records]
    bad = dict.fromkeys(missing_files(paths) if built.ann_file else (), 'missing')
    chosen = sample([path for path in paths if path not in bad], decode)
    bad |= {path: seen.fault for path, seen in zip(chosen, look_at(chosen, decode=decode)) if seen.fault}
    faults += check_bad_images(bad, len(paths), max_bad_fraction(dataset), training, source)
    told = f', {len(classes)} classes' if classes else ''
    return faults, f'{len(records)} pictures{told} in {source}', classes


def _left_out(where: str, number: Any, labels: Sequence[int]) -> Iterator[tuple[str, str]]:
    """Whether a number as ``indices``, which mmengine counts from one end of a list in the order of classes, omits some."""
    if not isinstance(number, int):
        return
    taken, classes = (labels[:number] if number >= 0 else labels[number:]), {*labels}
    if len({*taken}) < len(classes):
        step = max(1, len(labels) // max(1, abs(number)))
        yield (
            'warning',
            f'{where}.indices={number} takes the {"first" if number >= 0 else "last"} {len(taken)} of {len(labels)} pictures, '
            f'of {len({*taken})} of the {len(classes)} classes, for they are listed class by class. For some of each: '
            f'indices=list(range(0, {len(labels)}, {step})) in the config',
        )


def check_fetched(where: str, dataset: Mapping[str, Any], scope: str | None) -> Iterator[tuple[str, str]]:
    """Whether a data set of mmpretrain's that would be fetched from the network (CIFAR, MNIST) is there; (level, message)."""
    try:
        built = build_dataset(dataset, scope)
        complete = built._check_integrity()
    except Exception as error:  # its class's own, of any kind
        yield 'error', f'{where} cannot be built: {type(error).__name__}: {str(error)[:400]}'
        return
    if not complete:
        place = next(iter(built.data_prefix.values()), '')
        fetches = getattr(built, 'download', False)
        yield (
            'warning' if fetches else 'error',
            f'{type(built).__name__} is not complete in {place!r}: '
            + ('it will be fetched when the run begins' if fetches else 'and may not be fetched')
            + f' (files and their MD5 sums as {type(built).__name__} of mmpretrain lists them; another place: '
            f'--cfg-options {where}.data_root=DIRECTORY)',
        )


def _wrong_line(built: Any) -> str:
    """Which line of a list is no path with a number behind it."""
    try:
        with open(built.ann_file, encoding='utf-8', errors='replace') as file:
            for number, line in enumerate(file, 1):
                parts = line.strip().rsplit(' ', 1)
                if len(parts) != 2 or not parts[1].lstrip('-').isdigit():
                    return f'line {number} is {line.strip()[:200]!r}, and must be a path, a space and the number of a class'
    except OSError:
        pass
    return ''


def _check_folders(
    cfg: Mapping[str, Any], where: str, dataset: Mapping[str, Any], built: Any, training: bool
) -> Iterator[tuple[str, str]]:
    """Whether each class has its folder, with pictures in it: a class's number is its folder's place in the alphabet."""
    root = built.img_prefix
    folders = _folders(root)
    if not folders:
        here = sorted(folder_entries(root))
        yield (
            'error',
            f'{root!r} holds no folders, one for each class'
            + (f' ({len(here)} files, such as {here[0]!r})' if here else '')
            + f'. Set {where}.data_prefix, or name a list: {option(cfg, f"{where}.ann_file", "FILE")}',
        )
        return
    empty = [name for name in folders if not _has_picture(os.path.join(root, name), built)]
    if empty:
        hidden = ' (a hidden folder counts as a class, too)' if any(name.startswith('.') for name in empty) else ''
        yield (
            'error' if len(empty) == len(folders) else 'warning',
            f'{len(empty)} of {len(folders)} classes in {root!r} have no picture: {listing(empty)}{hidden}; files that count '
            f'end with {listing(sorted(built.extensions))}',
        )
    for other in () if training else _training_folders(cfg, type_name(dataset)):
        trained = _folders(other)
        if trained and trained != folders:
            lacking, new = sorted({*trained} - {*folders}), sorted({*folders} - {*trained})
            told = [f'lacks {listing(lacking)}'] * bool(lacking) + [f'has besides {listing(new)}'] * bool(new)
            yield (
                'error',
                f'{root!r} has other classes than {other!r}: it {" and ".join(told)}. A class is numbered by its place among '
                'the folders, so that these pictures would be judged by wrong numbers; make the folders the same (empty ones '
                'may be)',
            )


def _folders(root: str) -> list[str]:
    """As mmengine lists them, hidden ones among them."""
    return [name for name in sorted(folder_entries(root)) if os.path.isdir(os.path.join(root, name))]


def _has_picture(folder: str, built: Any) -> bool:
    return any(
        built.is_valid_file(name) and not name.startswith('.')
        for _, _, names in os.walk(folder, followlinks=True)
        for name in names
    )


def _training_folders(cfg: Mapping[str, Any], kind: str) -> Sequence[str]:
    """The folders of training data of the same type, where they hold a folder for each class."""
    found = []
    for _, dataset in leaf_datasets((cfg.get('train_dataloader') or {}).get('dataset') or {}, ''):
        facts = dataset_facts(dataset)
        if not facts.ann_file and not facts.remote and type_name(dataset) == kind:
            found.append(facts.prefixes.get('img_path', facts.data_root))
    return [folder for folder in found if os.path.isdir(folder)]
