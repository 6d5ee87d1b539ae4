"""Where a dataset's files should be, and what to do when they are not there."""

import os
from collections.abc import Mapping

from mmswin.data.checked_dataset import CheckedDataset
from mmswin.data.config_facts import short_name
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


def check_places(part: CheckedDataset) -> bool:
    """Whether the data root, the annotation file and the directories are there; True if the rest can be looked at."""

    def note(level: str, message: str) -> None:
        part.add(level, message, absent=bool(part.format) and level == 'error')

    where, root, ann_file, prefixes = part.where, part.built.data_root or '', part.ann_file, part.prefixes
    levels = part.reads
    remedy = f'{_source(part)}If it is elsewhere: '
    set_root = part.option('data_root', 'DIRECTORY')
    gone = {key: place for key, place in prefixes.items() if levels.get(key) and not os.path.isdir(place)}
    no_file = bool(ann_file) and not os.path.exists(ann_file)
    if root and not os.path.isdir(root) and (gone or no_file or not prefixes):
        wanted = ann_file or next(iter(prefixes.values()), '')
        text = f'the data root {root!r} does not exist: looked for {wanted!r} from {os.getcwd()}. {remedy}{set_root}'
        note('error', text)
        return False
    before = part.report.num_errors
    if no_file:
        folder = os.path.dirname(ann_file)
        there = sorted(folder_entries(folder))
        note(
            'error' if part.format else 'warning',
            f'the annotation file {ann_file!r} does not exist; {folder or "."!r} '
            + (f'holds {listing(there)}' if there else 'is empty or not there')
            + f'. {remedy}{set_root} or {where}.ann_file=FILE',
        )
    is_coco = short_name(part.dataset.get('type')) == 'CocoDataset' and 'miniature' not in root
    for key, place in gone.items():
        if key == 'seg' and is_coco:
            remedy = f'{_MAPS}If it is elsewhere: '
        named = f'{where}.data_prefix' + (f'.{key}' if isinstance(part.dataset.get('data_prefix'), Mapping) else '')
        text = f'the directory {place!r} ({named}) does not exist. {remedy}{set_root} or {named}=DIRECTORY'
        note(levels[key], text)
    for key, level in levels.items():
        empty = key == 'seg' and key in prefixes and not part.built.data_prefix[key]  # mmdet takes it for none
        if level == 'error' and (key not in prefixes or empty):
            what = 'label maps, which its pipeline loads (LoadAnnotations)' if 'seg' in key else 'images'
            part.error(
                f'{where}.data_prefix has no {key!r}, the directory of the {what}: set data_prefix=dict({key}=...)'
            )
    return part.report.num_errors == before


def _source(part: CheckedDataset) -> str:
    """Where to get the data set, as far as its configuration tells which it is."""
    cfg, dataset, root = part.cfg, part.dataset, part.built.data_root or ''
    name = 'ade' if part.scope == 'mmseg' else 'coco'
    variable = f'MMSWIN_{name.upper()}_DIR'
    place = os.environ.get(variable)
    # mmengine logs the variables that a config reads even where a later line of it replaces the place.
    unheeded = bool(place) and not root.startswith(place)
    note = f'{variable} is set, but this config does not follow it. ' if unheeded else ''
    if 'miniature' in root:
        return f'Make it: mmswin miniature {name} {root}. {note}'
    ann_file, prefixes = dataset.get('ann_file') or '', dataset.get('data_prefix') or {}
    kind = short_name(dataset.get('type'))
    official = kind == 'ADE20KDataset' or os.path.basename(ann_file).startswith('instances_')
    own_classes = (dataset.get('metainfo') or {}).get('classes') or kind == 'CustomDataset'
    if official or not own_classes:
        return _GET.get(kind, '') + note
    # The place of the data in the configurations for one's own.
    named = 'MMSWIN_DATA_DIR' in str(getattr(cfg, 'text', ''))
    own = ', or export MMSWIN_DATA_DIR=DIRECTORY (see docs/finetune.md)' if named else ''
    folders = [prefixes] if isinstance(prefixes, str) else list(prefixes.values())
    places = listing([ann_file] * bool(ann_file) + folders)
    return f'It is to hold your own data, {places}: set data_root in the config{own}. '
