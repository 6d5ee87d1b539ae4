"""The checks of one dataset of images and label maps, put together (see :mod:`mmswin.data.checks`)."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmswin.data.config_facts import DatasetFacts, dataset_argument, max_bad_fraction, steps_of
from mmswin.data.image_files import check_bad_images, listing, undecodable_files
from mmswin.data.segmentation_checks import check_headers, check_labels, check_there, pair_files, read_labels

Fault = tuple[str, str]


def check_segmentation(
    dataset: Mapping[str, Any],
    kind: type,
    where: str,
    facts: DatasetFacts,
    classes: Sequence[str] | None,
    training: bool,
    decode: bool,
) -> tuple[list[Fault], str]:
    """Check the files of a dataset that mmseg's ``BaseSegDataset`` or a child of it reads.

    Args:
        dataset: Its configuration.
        kind: Its class.
        where: Its place in the configuration.
        facts: Its directories, which exist.
        classes: Names of the classes expected; None if unknown.
        training: Whether it is trained on.
        decode: Read every image and label map to its end, not only headers and a sample of the label maps.

    Returns:
        The faults as ``(level, message)``, and a line on what there is.
    """
    image_dir = facts.prefixes.get('img_path')
    if image_dir is None:
        return [
            (
                'error',
                f"{where}.data_prefix has no 'img_path', the directory of the images: set "
                "data_prefix=dict(img_path='...', seg_map_path='...')",
            )
        ], f'{where} was not read'
    map_dir = facts.prefixes.get('seg_map_path', '')
    loaders = [
        step for step in steps_of(dataset.get('pipeline')) if str(step.get('type')).split('.')[-1] == 'LoadAnnotations'
    ]
    faults: list[Fault] = []
    if loaders and not map_dir:
        faults.append(
            (
                'error',
                f"{where}.data_prefix has no 'seg_map_path', the directory of the label maps, and its "
                'pipeline loads them (LoadAnnotations): set it, or take LoadAnnotations out',
            )
        )
    pairs = pair_files(
        where,
        image_dir,
        map_dir,
        dataset_argument(dataset, kind, 'img_suffix')[0],
        dataset_argument(dataset, kind, 'seg_map_suffix')[0],
        facts.ann_file,
    )
    faults += check_there(pairs)
    bad_images: dict[str, str] = {}
    faults += check_headers(pairs, bad_images)
    if decode:
        bad_images |= undecodable_files(image_dir, [name for name in pairs.names if name not in bad_images])
    faults += check_bad_images(
        image_dir, bad_images, len(pairs.names), max_bad_fraction(dataset), training, facts.ann_file or image_dir
    )
    number = f'{len(classes)} classes' if classes is not None else 'unknown classes'
    if not pairs.maps:
        return faults, f'{len(pairs.names)} images in {image_dir}, {number}'
    labels, unreadable = read_labels(pairs, decode)
    if not any(' do not decode' in message for _, message in faults):
        faults += unreadable
    numbering = list(_check_numbering(dataset, kind, where, classes, loaders))
    faults += numbering
    raw = _classes_of_maps(kind, classes)
    if raw and not numbering:
        reduce = bool(dataset_argument(dataset, kind, 'reduce_zero_label')[0])
        faults += check_labels(labels, pairs, raw, reduce, training)
    return faults, (
        f'{len(pairs.names)} images in {image_dir}, {number}; values of {labels.read} of {labels.total} '
        f'label maps in {os.path.normpath(map_dir)} read'
    )


def _classes_of_maps(kind: type, classes: Sequence[str] | None) -> Sequence[str] | None:
    """The classes that the numbers in the files stand for: all of the data set's, if it has some of its own."""
    return (getattr(kind, 'METAINFO', None) or {}).get('classes') or classes


def _check_numbering(
    dataset: Mapping[str, Any],
    kind: type,
    where: str,
    classes: Sequence[str] | None,
    loaders: Sequence[Mapping[str, Any]],
) -> Iterator[Fault]:
    """What the configuration alone tells to be wrong about the numbers of classes."""
    reduce, usual = (bool(value) for value in dataset_argument(dataset, kind, 'reduce_zero_label'))
    own = list((getattr(kind, 'METAINFO', None) or {}).get('classes') or ())
    strange = [name for name in classes or () if own and name not in own]
    if strange:
        yield (
            'error',
            (
                f'{where}.metainfo.classes: {listing(strange)} {"is" if len(strange) == 1 else "are"} not among the '
                f"{len(own)} classes of {kind.__name__}, which mmseg refuses. For classes of one's own set "
                f"{where}.type='BaseSegDataset' (and its img_suffix, seg_map_suffix and reduce_zero_label)"
            ),
        )
    if own and reduce != usual:
        meaning = ('0 for "not labelled" and 1 for' if usual else '0 for') + f' {own[0]}'
        effect = f'{own[0]} would be ignored' if reduce else f'"not labelled" would be taken for {own[0]}'
        yield (
            'error',
            (
                f"{where}.reduce_zero_label={reduce}, but {kind.__name__}'s label maps have {meaning}: {effect} and every "
                f'other class for {"the one before" if reduce else "the next"}. Remove it: --cfg-options '
                f'{where}.reduce_zero_label={usual}'
            ),
        )
    for step in loaders:
        given = step.get('reduce_zero_label')
        if given is not None and bool(given) != reduce:
            yield (
                'error',
                (
                    f'{where}.pipeline has LoadAnnotations(reduce_zero_label={given}) and the dataset '
                    f'reduce_zero_label={reduce}, at which mmseg stops. Remove it from LoadAnnotations'
                ),
            )
