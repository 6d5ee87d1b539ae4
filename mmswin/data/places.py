"""Where a dataset's files should be, and what to do when they are not there."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmswin.data.config_facts import DatasetFacts, option, type_name
from mmswin.data.pictures import folder_entries, listing

_GET = {
    'CocoDataset': 'Get COCO 2017 from https://cocodataset.org/#download (or make a miniature to try things out: mmswin '
    'miniature coco data/miniature_coco, for the config demo_cascade_mask_rcnn_swin_t_miniature). '
    "With this package's configurations, export MMSWIN_COCO_DIR=DIRECTORY names another place for all splits. ",
    'ADE20KDataset': 'Get ADE20K (0.9 GB) from http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip '
    '(or make a miniature to try things out: mmswin miniature ade data/miniature_ade --classes ade). With '
    "this package's configurations, export MMSWIN_ADE_DIR=DIRECTORY names another place for all splits. ",
}
_MAPS = (
    "Get COCO-stuff's label maps (0.7 GB), from http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/"
    'stuffthingmaps_trainval2017.zip, and unpack them there, or train without them: htc_plus_no_semantic_swin_b_coco. '
)
# Names the place of the data in the configurations for one's own.
_OWN_DIR = 'MMSWIN_DATA_DIR'


def check_places(
    cfg: Mapping[str, Any],
    where: str,
    dataset: Mapping[str, Any],
    facts: DatasetFacts,
    levels: Mapping[str, str],
    known: bool,
) -> Iterator[tuple[str, str]]:
    """Whether the data root, the annotation file and the directories are there, as ``(level, message)``.

    Args:
        cfg: The whole configuration.
        where: The dataset's place in it.
        dataset: The dataset's configuration.
        facts: Its places.
        levels: Key of ``data_prefix`` to the level of a missing directory; '' for one that nothing reads.
        known: Whether it is known what its class reads.
    """
    remedy = f'{_source(cfg, dataset, facts)}If it is elsewhere: '
    root = option(cfg, f'{where}.data_root', 'DIRECTORY')
    gone = {
        key: place for key, place in facts.prefixes.items() if levels.get(key) and not os.path.isdir(place)
    }  # fmt: skip
    no_file = bool(facts.ann_file) and not os.path.exists(facts.ann_file)
    if facts.data_root and not os.path.isdir(facts.data_root) and (gone or no_file or not facts.prefixes):
        wanted = facts.ann_file or next(iter(facts.prefixes.values()), '')
        yield (
            'error',
            f'the data root {facts.data_root!r} does not exist: looked for {wanted!r} from {os.getcwd()}. {remedy}{root}',
        )
        return
    if no_file:
        folder = os.path.dirname(facts.ann_file)
        there = sorted(folder_entries(folder))
        yield (
            'error' if known else 'warning',
            f'the annotation file {facts.ann_file!r} does not exist; {folder or "."!r} '
            + (f'holds {listing(there)}' if there else 'is empty or not there')
            + f'. {remedy}{root} or {where}.ann_file=FILE',
        )
    for key, place in gone.items():
        if key == 'seg' and type_name(dataset).split('.')[-1] == 'CocoDataset' and 'miniature' not in facts.data_root:
            remedy = f'{_MAPS}If it is elsewhere: '
        yield (
            levels[key],
            f'the directory {place!r} ({where}.data_prefix.{key}) does not exist. {remedy}{root} or '
            f'{where}.data_prefix.{key}=DIRECTORY',
        )


def _source(cfg: Mapping[str, Any], dataset: Mapping[str, Any], facts: DatasetFacts) -> str:
    """Where to get the data set, as far as its configuration tells which it is."""
    if 'miniature' in facts.data_root:
        name = 'ade' if cfg.get('default_scope') == 'mmseg' else 'coco'
        return f'Make it: mmswin miniature {name} {facts.data_root}. {_variable_unheeded(cfg, facts)}'
    named = (dataset.get('metainfo') or {}).get('classes')
    ann_file, prefixes = dataset.get('ann_file') or '', dataset.get('data_prefix') or {}
    kind = type_name(dataset).split('.')[-1]
    official = kind == 'ADE20KDataset' or os.path.basename(ann_file).startswith('instances_')
    if named and not official:
        variable = ''
        if _OWN_DIR in str(getattr(cfg, 'text', '')):
            variable = f', or export {_OWN_DIR}=DIRECTORY (see docs/finetune.md)'
        folders = [prefixes] if isinstance(prefixes, str) else list(prefixes.values())
        places = listing([ann_file] * bool(ann_file) + folders)
        return f'It is to hold your own data, {places}: set data_root in the config{variable}. '
    return _GET.get(kind, '') + _variable_unheeded(cfg, facts)


def _variable_unheeded(cfg: Mapping[str, Any], facts: DatasetFacts) -> str:
    """mmengine logs the variables that a config reads even where a later line of it replaces the place."""
    variable = 'MMSWIN_ADE_DIR' if cfg.get('default_scope') == 'mmseg' else 'MMSWIN_COCO_DIR'
    place = os.environ.get(variable)
    if not place or facts.data_root.startswith(place):
        return ''
    return f'{variable} is set, but this config does not follow it. '
