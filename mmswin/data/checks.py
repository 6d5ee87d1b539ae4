"""Find faults of the data that a configuration names, before anything is trained.

Reads annotation files, directories, and of segmentation data the headers and some label maps; builds neither a dataset
nor a model. Checking a COCO file needs json and numpy; mmdet is asked only for the classes of a dataset whose
configuration does not name them. Label maps need Pillow besides, and mmseg to know which dataset reads them.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmswin.data.coco_checks import (
    check_boxes,
    check_classes,
    check_evaluation,
    check_ids,
    check_masks,
    check_usable,
    usable_images,
)
from mmswin.data.coco_file import AnnotationFileError, CocoFile, read_coco
from mmswin.data.config_facts import (
    NOT_LABELLING,
    NOT_SEGMENTING,
    dataset_facts,
    default_classes,
    is_coco,
    leaf_datasets,
    mask_user,
    max_bad_fraction,
    model_num_classes,
    segmentation_class,
)
from mmswin.data.image_files import check_bad_images, folder_entries, listing, missing_files, undecodable_files
from mmswin.data.segmentation import check_segmentation

_GET_COCO = (
    'Get COCO 2017 from https://cocodataset.org/#download (or make a miniature to try things out: python '
    'tools/make_miniature_coco.py data/miniature_coco, for configs/demo_cascade_mask_rcnn_swin_t_miniature.py). '
    "With this package's configurations, export MMSWIN_COCO_DIR=DIRECTORY names another place for all splits. "
)

_GET_ADE = (
    'Get ADE20K (0.9 GB) from http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip (or make a '
    'miniature to try things out: python tools/make_miniature_ade.py data/miniature_ade --classes ade). With this '
    "package's configurations, export MMSWIN_ADE_DIR=DIRECTORY names another place for all splits. "
)

# Names the place of the data in the configurations for one's own.
_OWN_DIR = 'MMSWIN_DATA_DIR'


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        level: ``'error'``: the run would stop or be wrong. ``'warning'``: it goes on without some of the data.
        message: What is wrong, where, and what to do.
        split: ``'train'``, ``'val'`` or ``'test'``.
    """

    level: str
    message: str
    split: str

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
    cache: dict[str, CocoFile] = {}
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if not loader:
            continue
        paths = []
        for where, dataset in leaf_datasets(loader.get('dataset') or {}, f'{split}_dataloader.dataset'):
            check = _DatasetCheck(cfg, split, where, dataset, decode, report, cache)
            check.run()
            paths.append(check.facts.ann_file)
        if split != 'train':
            for level, message in _check_evaluators(cfg, split, paths):
                report.findings.append(Finding(level, message, split))
    return report


class _DatasetCheck:
    """The checks of one dataset of one split."""

    def __init__(
        self,
        cfg: Mapping[str, Any],
        split: str,
        where: str,
        dataset: Mapping[str, Any],
        decode: bool,
        report: Report,
        cache: dict[str, CocoFile],
    ) -> None:
        self.cfg, self.split, self.where, self.dataset = cfg, split, where, dataset
        self.decode, self.report, self.cache = decode, report, cache
        self.facts = dataset_facts(dataset)

    def add(self, level: str, message: str) -> None:
        self.report.findings.append(Finding(level, message, self.split))

    def run(self) -> None:
        facts = self.facts
        if facts.remote:
            self.add('warning', f'{self.where} reads from {facts.remote}, which cannot be checked from here')
            return
        if not self._check_places():
            return
        if kind := segmentation_class(self.dataset, self.cfg.get('default_scope')):
            self._check_segmentation(kind)
            return
        if not is_coco(self.dataset, self.cfg.get('default_scope')):
            self.report.summaries.append(
                f'{self.split}: {self.where} exists; the contents of a {self.dataset.get("type")} are not checked'
            )
            return
        try:
            if facts.ann_file not in self.cache:
                self.cache[facts.ann_file] = read_coco(facts.ann_file, may_lack_annotations=self.split == 'test')
        except AnnotationFileError as error:
            self.add('error', str(error))
            return
        self._check_coco(self.cache[facts.ann_file])

    def _check_places(self) -> bool:
        """The data root, the annotation file and the image directories; False if the rest cannot be checked."""
        facts = self.facts
        remedy = f'{self._source()}If it is elsewhere: --cfg-options {self.where}.'
        if facts.data_root and not os.path.isdir(facts.data_root):
            wanted = facts.ann_file or next(iter(facts.prefixes.values()), '')
            self.add(
                'error',
                (
                    f'the data root {facts.data_root!r} does not exist: looked for {wanted!r} from {os.getcwd()}. '
                    f'{remedy}data_root=DIRECTORY'
                ),
            )
            return False
        good = True
        if facts.ann_file and not os.path.isfile(facts.ann_file):
            folder = os.path.dirname(facts.ann_file)
            there = sorted(folder_entries(folder))
            self.add(
                'error',
                (
                    f'the annotation file {facts.ann_file!r} does not exist; {folder or "."!r} '
                    + (f'holds {listing(there)}' if there else 'is empty or not there')
                    + f'. {remedy}data_root=DIRECTORY or {self.where}.ann_file=FILE'
                ),
            )
            good = False
        for key, directory in facts.prefixes.items():
            if not os.path.isdir(directory):
                self.add(
                    'error',
                    (
                        f'the directory {directory!r} ({self.where}.data_prefix.{key}) does not exist. {remedy}'
                        f'data_root=DIRECTORY or {self.where}.data_prefix.{key}=DIRECTORY'
                    ),
                )
                good = False
        return good

    def _source(self) -> str:
        """Where to get the data set, as far as its configuration tells which it is."""
        if 'miniature' in self.facts.data_root:
            name = 'ade' if self.cfg.get('default_scope') == 'mmseg' else 'coco'
            return f'Make it: python tools/make_miniature_{name}.py {self.facts.data_root}. {self._variable_unheeded()}'
        named = (self.dataset.get('metainfo') or {}).get('classes')
        ann_file, prefixes = self.dataset.get('ann_file') or '', self.dataset.get('data_prefix') or {}
        official = self.dataset.get('type') == 'ADE20KDataset' or os.path.basename(ann_file).startswith('instances_')
        if named and not official:
            variable = ''
            if _OWN_DIR in str(getattr(self.cfg, 'text', '')):
                variable = f', or export {_OWN_DIR}=DIRECTORY (see docs/finetune.md)'
            places = listing([ann_file] * bool(ann_file) + list(prefixes.values()))
            return f'It is to hold your own data, {places}: set data_root in the config{variable}. '
        source = {'CocoDataset': _GET_COCO, 'ADE20KDataset': _GET_ADE}.get(str(self.dataset.get('type')), '')
        return source + self._variable_unheeded()

    def _variable_unheeded(self) -> str:
        """mmengine logs the variables that a config reads even where a later line of it replaces the place."""
        variable = 'MMSWIN_ADE_DIR' if self.cfg.get('default_scope') == 'mmseg' else 'MMSWIN_COCO_DIR'
        place = os.environ.get(variable)
        if not place or self.facts.data_root.startswith(place):
            return ''
        return f'{variable} is set, but this config does not follow it. '

    def _check_segmentation(self, kind: type) -> None:
        classes, _, problem = self._classes()
        if problem:
            self.add('error', problem[1])
        if classes is not None:
            for level, message in self._check_num_classes(classes, NOT_SEGMENTING):
                self.add(level, message)
        faults, summary = check_segmentation(
            self.dataset, kind, self.where, self.facts, classes, self.split == 'train', self.decode
        )
        for level, message in faults:
            self.add(level, message)
        self.report.summaries.append(f'{self.split}: {summary}')

    def _check_coco(self, coco: CocoFile) -> None:
        faults: list[tuple[str, str]] = [*check_ids(coco), *check_boxes(coco)]
        classes, given, problem = self._classes()
        if problem:
            faults.append(problem)
        if classes is not None:
            faults += check_classes(coco, classes, given, self.where)
            faults += self._check_num_classes(classes)
        training = not self.dataset.get('test_mode', False)
        filters = self.dataset.get('filter_cfg') or {}
        rule = (classes, filters.get('min_size', 0), bool(filters.get('filter_empty_gt', False)))
        if training:
            faults += check_usable(coco, *rule)
        if self.split != 'train':
            faults += check_evaluation(coco)
        user = mask_user(self.cfg, self.dataset, self.where)
        if user and not coco.unlabelled:
            faults += check_masks(coco, user)
        faults += self._check_images(coco)
        for level, message in faults:
            self.add(level, message)
        usable = f', {usable_images(coco, *rule).sum()} of them usable for training' if training else ''
        self.report.summaries.append(
            f'{self.split}: {len(coco.images)} images{usable}; {len(coco.annotations)} annotations, '
            f'{len(coco.categories)} categories in {coco.path}'
        )

    def _classes(self) -> tuple[Sequence[str] | None, bool, tuple[str, str] | None]:
        """Classes that the dataset expects, whether the configuration names them, and what is wrong with that."""
        metainfo = self.dataset.get('metainfo') or {}
        classes = metainfo.get('classes')
        if classes is None:
            if 'CLASSES' in metainfo:
                return (
                    None,
                    False,
                    (
                        'error',
                        (
                            f"{self.where}.metainfo has 'CLASSES', which mmdet 3 does not read: write it in lower case, "
                            'metainfo=dict(classes=(...))'
                        ),
                    ),
                )
            classes, reason = default_classes(self.dataset, self.cfg.get('default_scope'))
            if classes is None:
                return None, False, ('warning', f'{self.where}: the expected classes are unknown ({reason})')
            return classes, False, None
        if isinstance(classes, str):
            if os.path.isfile(classes):
                with open(classes, encoding='utf-8') as file:
                    return [line.rstrip('\n\r') for line in file], True, None
            return (
                None,
                True,
                (
                    'error',
                    (
                        f'{self.where}.metainfo.classes is the text {classes!r}, which mmdet would take letter by letter (or, '
                        f'were it a file, line by line): write a tuple, ({classes!r},)'
                    ),
                ),
            )
        return list(classes), True, None

    def _check_num_classes(
        self, classes: Sequence[str], others: tuple[str, ...] = NOT_LABELLING
    ) -> Iterator[tuple[str, str]]:
        heads = model_num_classes(self.cfg.get('model') or {}, others=others)
        wrong = {path: number for path, number in heads.items() if number != len(classes)}
        if wrong:
            options = ' '.join(f'{path}={len(classes)}' for path in wrong)
            yield (
                'error',
                (
                    f'{self.where} has {len(classes)} classes ({listing(classes)}), and the model expects another number: '
                    + listing(f'{path}={number}' for path, number in wrong.items())
                    + f'. If the classes are right, set the heads: --cfg-options {options}; if the heads are right, name '
                    f'the classes in metainfo of every data set: +{self.where}.metainfo.classes="(...)"'
                ),
            )

    def _check_images(self, coco: CocoFile) -> Iterator[tuple[str, str]]:
        directory = self.facts.prefixes.get('img')
        if directory is None:
            yield (
                'error',
                (
                    f"{self.where}.data_prefix has no 'img', the directory of the images: set data_prefix=dict(img='...')"
                ),
            )
            return
        names = list(dict.fromkeys(image['file_name'] for image in coco.images))
        missing = missing_files(directory, names)
        bad = dict.fromkeys(missing, 'missing')
        if names and len(missing) == len(names):
            there = sorted(folder_entries(directory))
            yield (
                'error',
                (
                    f'none of the {len(names)} images that {coco.path} lists is in {directory!r} (looked for '
                    f'{names[0]!r}; the directory '
                    + (f'holds {len(there)} entries, such as {there[0]!r}' if there else 'is empty')
                    + f'). Set {self.where}.data_prefix.img'
                ),
            )
            return
        if self.decode:
            bad |= undecodable_files(directory, [name for name in names if name not in bad])
        yield from check_bad_images(
            directory, bad, len(names), max_bad_fraction(self.dataset), not self.dataset.get('test_mode'), coco.path
        )


def _check_evaluators(cfg: Mapping[str, Any], split: str, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The metric's annotation file against those of the datasets."""
    evaluators = cfg.get(f'{split}_evaluator') or ()
    many = not isinstance(evaluators, Mapping)
    for index, evaluator in enumerate(evaluators if many else [evaluators]):
        path = evaluator.get('ann_file') if isinstance(evaluator, Mapping) else None
        if not isinstance(path, str) or '://' in path:
            continue
        option = f'{split}_evaluator.{index}.ann_file' if many else f'{split}_evaluator.ann_file'
        local = [other for other in paths if other]
        advice = f'--cfg-options {option}={local[0] if local else "FILE"}'
        if not os.path.isfile(path):
            if path not in map(os.path.normpath, local) and path not in local:
                yield 'error', f'the annotation file of the metric, {path!r}, does not exist; set it: {advice}'
        elif local and os.path.realpath(path) not in map(os.path.realpath, local):
            yield (
                'error',
                (
                    f'the metric reads {path!r} and the dataset {listing(local)}: results would be compared with the '
                    f'annotations of other images. Set it: {advice}'
                ),
            )
