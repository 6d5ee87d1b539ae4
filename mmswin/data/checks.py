"""Find faults of the data that a configuration names, before anything is trained.

The datasets of the configuration are built, and mmdet's and mmseg's own code says what it makes of their files; nothing
is trained and no model is built. Where that cannot be asked, a fault is a warning, not an error.
"""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmswin.data import class_folders
from mmswin.data.annotations import AnnotationFileError, judge, read_coco
from mmswin.data.coco_checks import (
    check_classes,
    check_evaluation,
    check_evaluators,
    check_ids,
    check_judgement,
    explain_useless,
)
from mmswin.data.config_facts import (
    NOT_LABELLING,
    NOT_SEGMENTING,
    build_dataset,
    build_step,
    dataset_class,
    dataset_facts,
    default_argument,
    leaf_datasets,
    max_bad_fraction,
    model_num_classes,
    option,
    steps_of,
    type_name,
)
from mmswin.data.label_maps import SegmentationCheck
from mmswin.data.pictures import (
    check_bad_images,
    check_sizes,
    folder_entries,
    listing,
    loaded_size,
    look_at,
    missing_files,
    sample,
)
from mmswin.data.places import check_places
from mmswin.data.semantic_maps import check_semantic_maps
from mmswin.errors import plain_message, printable

# Pictures may differ in size from what is said of them in this part of a data set before it is an error.
_ODD_SIZES = 0.01


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        level: ``'error'``: the run would stop or be wrong. ``'warning'``: it goes on without some of the data.
        message: What is wrong, where, and what to do.
        split: ``'train'``, ``'val'`` or ``'test'``.
        absent: Whether files are not there that the run would stop without.
    """

    level: str
    message: str
    split: str
    absent: bool = False

    def __str__(self) -> str:
        return f'{self.level} ({self.split}): {self.message}'


@dataclass
class Report:
    """What a check found.

    Attributes:
        findings: The faults, in the order of the splits.
        summaries: One line on each dataset that could be read.
    """

    findings: list[Finding] = field(default_factory=list)
    summaries: list[str] = field(default_factory=list)

    def add(self, level: str, message: str, split: str, absent: bool = False) -> None:
        """Note a fault; what files and configurations hold is escaped here."""
        self.findings.append(Finding(level, printable(message, limit=3000), split, absent))

    @property
    def num_errors(self) -> int:
        """How many of the findings are errors."""
        return sum(finding.level == 'error' for finding in self.findings)


def check_config(
    cfg: Mapping[str, Any], splits: Sequence[str] = ('train', 'val'), decode: bool = False
) -> list[Finding]:
    """Faults of the data of a configuration; see :func:`inspect_config`."""
    return inspect_config(cfg, splits, decode).findings


def inspect_config(cfg: Mapping[str, Any], splits: Sequence[str] = ('train', 'val'), decode: bool = False) -> Report:
    """Check the data of a configuration without training.

    Args:
        cfg: A configuration of mmdet or mmseg (an mmengine ``Config`` or a dict).
        splits: Which of ``'train'``, ``'val'`` and ``'test'`` to check. One without a data loader is passed over.
        decode: Also read every image to its end (minutes on a large data set).

    Returns:
        The findings, and a line on each dataset read.

    Raises:
        ValueError: An unknown split.
    """
    unknown = set(splits) - {'train', 'val', 'test'}
    if unknown:
        raise ValueError(f'unknown split {listing(sorted(unknown))}: expected train, val or test')
    report = Report()
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            continue
        checks = [
            _DatasetCheck(cfg, split, where, dataset, decode, report)
            for where, dataset in leaf_datasets(loader.get('dataset') or {}, f'{split}_dataloader.dataset')
        ]
        for check in checks:
            check.run()
        useless = [check.useless for check in checks if check.useless]
        for message in useless:
            # One without labels may stand next to others that have some, as in semi-supervised training.
            alone = len(useless) == len(checks)
            report.add('error' if alone else 'warning', message, split)
        if split != 'train':
            for level, message in check_evaluators(
                cfg, split, [check.facts.ann_file for check in checks if check.is_coco]
            ):
                report.add(level, message, split)
    return report


class _DatasetCheck:
    """The checks of one dataset of one split."""

    def __init__(
        self, cfg: Mapping[str, Any], split: str, where: str, dataset: Mapping[str, Any], decode: bool, report: Report
    ) -> None:
        self.cfg, self.split, self.where, self.dataset = cfg, split, where, dataset
        self.decode, self.report, self.scope = decode, report, cfg.get('default_scope')
        self.facts = dataset_facts(dataset)
        self.kind, self.unknown = dataset_class(dataset, self.scope)
        self.ancestors = {ancestor.__name__ for ancestor in self.kind.__mro__} if self.kind else set()
        # A class of another scope is known where its module is.
        self.is_coco = 'CocoDataset' in self.ancestors and 'CocoPanopticDataset' not in self.ancestors
        self.is_map = 'BaseSegDataset' in self.ancestors and self.kind.__module__.split('.')[0] != 'mmdet'
        self.is_classes = 'CustomDataset' in self.ancestors and self.kind.__module__.split('.')[0] == 'mmpretrain'
        self.training = split == 'train' and not dataset.get('test_mode', False)
        self.useless = ''

    def add(self, level: str, message: str, absent: bool = False) -> None:
        self.report.add(level, message, self.split, absent)

    def run(self) -> None:
        facts = self.facts
        if facts.remote:
            self.add('warning', f'{self.where} reads from {facts.remote}, which cannot be checked from here')
            return
        if hasattr(self.kind, '_check_integrity'):
            for level, message in class_folders.check_fetched(self.where, self.dataset, self.scope):
                self.add(level, message)
            return
        known = self.is_coco or self.is_map or self.is_classes
        places = list(check_places(self.cfg, self.where, self.dataset, facts, self._reads(), known))
        for level, message in places:
            self.add(level, message, absent=known and level == 'error')
        if any(level == 'error' for level, _ in places):
            return
        if not known:
            reason = f' ({self.unknown})' if self.unknown else ''
            self.report.summaries.append(
                f'{self.split}: the contents of {self.where}, a {type_name(self.dataset)}, are not checked{reason}'
            )
            return
        try:
            built = build_dataset(self.dataset, self.scope)
        except Exception as error:  # its class's own, of any kind
            self.add('error', f'{self.where} cannot be built: {plain_message(error)[:400]}{self._hint_of_classes()}')
            return
        if self.is_classes:
            self._check_classes(built)
            return
        needed = {'img' if self.is_coco else 'img_path': 'the directory of the images'}
        maps = 'seg' if self.is_coco else 'seg_map_path'
        if self._reads()[maps]:
            needed[maps] = 'the directory of the label maps, which its pipeline loads (LoadAnnotations)'
        lacking = [key for key in needed if key not in built.data_prefix]
        for key in lacking:
            self.add(
                'error', f'{self.where}.data_prefix has no {key!r}, {needed[key]}: set data_prefix=dict({key}=...)'
            )
        classes = self._classes(built)
        if not lacking:
            self._check_maps(built) if self.is_map else self._check_coco(built, classes)
        for level, message in self._check_num_classes(built, classes or ()):
            self.add(level, message)

    def _reads(self) -> dict[str, str]:
        """The level of a missing directory, by its key in ``data_prefix``: one that nothing reads is not looked for."""
        steps = list(steps_of(self.dataset.get('pipeline')))
        maps = any(
            step.get('with_seg')
            or 'Panoptic' in type_name(step)
            or (self.is_map and 'LoadAnnotations' in type_name(step))
            for step in steps
        )
        levels = dict.fromkeys(self.facts.prefixes, 'warning')
        if self.is_coco:
            levels = {'img': 'error', 'seg': 'error' if maps else ''}
        elif self.is_map:
            levels |= {'img_path': 'error', 'seg_map_path': 'error' if maps else ''}
        return levels

    def _classes(self, built: Any) -> list[str] | None:
        """Names of the classes that the dataset expects; None if they are not known or not names."""
        given = self.dataset.get('metainfo') or {}
        classes = built.metainfo.get('classes')
        if 'CLASSES' in given and 'classes' not in given:
            self.add(
                'error',
                f"{self.where}.metainfo has 'CLASSES', which mmdet 3 does not read: write it in lower case, "
                'metainfo=dict(classes=(...))',
            )
        elif isinstance(classes, str):
            self.add(
                'error',
                f'{self.where}.metainfo.classes is the text {classes!r}, which mmdet would take letter by letter (or, '
                f'were it a file, line by line): write a tuple, ({classes!r},)',
            )
        elif not classes:
            self.add(
                'warning',
                f'{self.where}: the expected classes are unknown ({type(built).__name__} has none of its own and '
                'metainfo.classes is not set)',
            )
        else:
            return list(classes)
        return None

    def _hint_of_classes(self) -> str:
        own = (getattr(self.kind, 'METAINFO', None) or {}).get('classes') or ()
        strange = [name for name in (self.dataset.get('metainfo') or {}).get('classes') or () if name not in own]
        if not own or not strange or not self.is_map:
            return ''
        return (
            f'. {listing(strange)} {"is" if len(strange) == 1 else "are"} not among the {len(own)} classes of '
            f"{self.kind.__name__}: for classes of one's own set {self.where}.type='BaseSegDataset' (and its img_suffix, "
            'seg_map_suffix and reduce_zero_label)'
        )

    def _check_num_classes(self, built: Any, classes: Sequence[str]) -> Iterator[tuple[str, str]]:
        if not classes or getattr(built, 'return_classes', False):
            return  # a model that is told the names
        others = NOT_SEGMENTING if self.is_map else NOT_LABELLING
        heads = model_num_classes(self.cfg.get('model') or {}, others=others)
        # An auxiliary head with one or two outputs sees edges (STDC), not classes.
        wrong = {
            path: number
            for path, number in heads.items()
            if number != len(classes) and not (number <= 2 and 'auxiliary_head' in path)
        }
        if wrong:
            options = ' '.join(f'{path}={len(classes)}' for path in wrong)
            yield (
                'error',
                f'{self.where} has {len(classes)} classes ({listing(classes)}), and the model expects another number: '
                + listing(f'{path}={number}' for path, number in wrong.items())
                + f'. If the classes are right, set the heads: --cfg-options {options}; if the heads are right, name '
                f'the classes in metainfo of every data set: '
                + option(self.cfg, f'{self.where}.metainfo.classes', '"(...)"'),
            )

    def _check_classes(self, built: Any) -> None:
        arguments = (self.cfg, self.where, self.dataset, built, self.training, self.decode)
        faults, summary, names = class_folders.check(*arguments)
        for level, message in [*faults, *self._check_num_classes(built, names)]:
            self.add(level, message)
        self.report.summaries += [f'{self.split}: {summary}'] if summary else []

    def _check_maps(self, built: Any) -> None:
        own, reduce = (type(built).METAINFO or {}).get('classes'), bool(built.reduce_zero_label)
        usual = bool(default_argument(type(built), 'reduce_zero_label'))
        if own and reduce != usual:
            meaning = ('0 for "not labelled" and 1 for' if usual else '0 for') + f' {own[0]}'
            effect = f'{own[0]} would be ignored' if reduce else f'"not labelled" would be taken for {own[0]}'
            self.add(
                'warning',
                f"{self.where}.reduce_zero_label={reduce}, but {type(built).__name__}'s label maps have {meaning}: {effect} "
                f'and every other class for {"the one before" if reduce else "the next"}. Remove it: '
                + option(self.cfg, f'{self.where}.reduce_zero_label', usual),
            )
            return
        check = SegmentationCheck(
            cfg=self.cfg,
            where=self.where,
            dataset=built,
            load=self._load(),
            loader=build_step(self.dataset, self.scope, 'LoadAnnotations'),
            training=self.training,
            decode=self.decode,
            allowed=max_bad_fraction(self.dataset),
        )
        faults, summary = check.run()
        for level, message in faults:
            self.add(level, message)
        self.report.summaries.append(f'{self.split}: {summary}')

    def _load(self) -> Any:
        """What loads pictures: mmcv's transform as the pipeline has it, unless it lets Pillow guess by content."""
        step = build_step(self.dataset, self.scope, 'LoadImageFromFile')
        if step is None or step.imdecode_backend != 'cv2':
            return None
        from mmcv.transforms import LoadImageFromFile

        return functools.partial(LoadImageFromFile.transform, step)  # ours would count what is bad

    def _check_coco(self, built: Any, classes: Sequence[str] | None) -> None:
        path = self.facts.ann_file
        try:
            data = read_coco(path)
            judgement = judge(built, data, build_step(self.dataset, self.scope, 'LoadAnnotations'))
        except AnnotationFileError as error:
            self.add('error', str(error))
            return
        except ImportError as error:
            self.add('warning', f'{self.where} is not checked: {plain_message(error)}')
            return
        except Exception as error:  # the library's own, of any kind
            what = f'{type(error).__name__}: {plain_message(error)[:400]}'
            self.add('error', f'{path} cannot be loaded by {type(built).__name__} ({what})')
            return
        faults = [*check_ids(path, data), *check_judgement(path, data, judgement)]
        if classes and data.get('annotations'):
            given = 'classes' in (self.dataset.get('metainfo') or {})
            faults += check_classes(path, data, built, classes, given, self.where)
        usable = judgement.usable
        if self.training and not usable and not judgement.stops:
            min_size = (self.dataset.get('filter_cfg') or {}).get('min_size', 0)
            self.useless = explain_useless(path, data, judgement, min_size)
        if self.split != 'train':
            faults += check_evaluation(path, data, self.split)
        records = judgement.records or judgement.loaded
        faults += self._check_images(records, built.data_prefix['img'])
        if self._reads()['seg']:
            faults += check_semantic_maps(records, built.data_prefix['seg'], self.cfg.get('model') or {}, self.decode)
        for level, message in faults:
            self.add(level, message)
        part = f', {usable} of them usable for training' if self.training else ''
        self.report.summaries.append(
            f'{self.split}: {len(data["images"])} images{part}; {len(data.get("annotations", ()))} annotations, '
            f'{len(data["categories"])} categories in {path}'
        )

    def _check_images(self, records: Sequence[Mapping[str, Any]], directory: str) -> Iterator[tuple[str, str]]:
        path = self.facts.ann_file
        said = {record['img_path']: (record['width'], record['height']) for record in records}
        missing = missing_files(said)
        if said and len(missing) == len(said):
            there = sorted(folder_entries(directory))
            yield (
                'error',
                f'none of the {len(said)} images that {path} lists is in {directory!r} (looked for '
                f'{os.path.relpath(missing[0], directory)!r}; the directory '
                + (f'holds {len(there)} entries, such as {there[0]!r}' if there else 'is empty')
                + f'). Set {self.where}.data_prefix.img',
            )
            return
        bad = dict.fromkeys(missing, 'missing')
        load, wrong = self._load(), {}
        chosen = sample([name for name in said if name not in bad], self.decode)
        for name, picture in zip(chosen, look_at(chosen, decode=self.decode), strict=True):
            size: tuple[int, int] | None = picture.size
            unknown = picture.fault == 'not an image'
            if unknown or (size != said[name] and not picture.fault):
                if load is None:
                    continue  # another loader may know the format
                size = loaded_size(load, name)
            if size is None or (picture.fault and not unknown):
                bad[name] = picture.fault or 'not an image'
            elif size != said[name]:
                wrong[name] = (size, said[name])
        allowed = max_bad_fraction(self.dataset)
        yield from check_bad_images(bad, len(said), allowed, not self.dataset.get('test_mode'), path)
        yield from check_sizes(wrong, len(chosen), _ODD_SIZES, path)
