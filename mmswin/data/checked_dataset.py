"""One data set of a configuration while it is checked: what is known of it, and what has been found."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mmswin.data.config_facts import (
    build_dataset,
    build_step,
    dataset_class,
    dataset_facts,
    dicts_in,
    option,
    short_name,
)
from mmswin.data.pictures import listing
from mmswin.errors import printable


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


class CheckedDataset:
    """One data set, without wrappers, and the report that its faults go to.

    Attributes:
        cfg: The whole configuration.
        split: ``'train'``, ``'val'`` or ``'test'``.
        where: The data set's place in it, such as ``train_dataloader.dataset``.
        dataset: Its own configuration.
        decode: Read every picture to its end.
        facts: Its places.
        kind: Its class; None if that cannot be found, for the reason ``unknown``.
        format: What of it can be checked: ``'coco'``, label ``'maps'``, ``'classes'`` of whole pictures, or '' for none.
        training: Whether it is trained on.
        built: The data set itself, not loaded; None before :meth:`build`.
        useless: Why nothing of it can be trained on, '' if something can.
    """

    def __init__(
        self, cfg: Mapping[str, Any], split: str, where: str, dataset: Mapping[str, Any], decode: bool, report: Report
    ) -> None:
        self.cfg, self.split, self.where, self.dataset = cfg, split, where, dataset
        self.decode, self.report, self.scope = decode, report, cfg.get('default_scope')
        self.facts = dataset_facts(dataset)
        self.kind, self.unknown = dataset_class(dataset, self.scope)
        self.format = _format(self.kind)
        self.training = split == 'train' and not dataset.get('test_mode', False)
        self.built: Any = None
        self.useless = ''

    def add(self, level: str, message: str, absent: bool = False) -> None:
        """Note a fault."""
        self.report.add(level, message, self.split, absent)

    def error(self, message: str) -> None:
        """Note what would stop the run or make it wrong."""
        self.add('error', message)

    def warning(self, message: str) -> None:
        """Note what the run goes on with."""
        self.add('warning', message)

    def summarize(self, text: str) -> None:
        """Note what there is."""
        self.report.summaries.append(f'{self.split}: {text}')

    def option(self, key: str, value: object) -> str:
        """The words of a command line that set an entry of the data set."""
        return option(self.cfg, f'{self.where}.{key}', value)

    def build(self) -> None:
        """Build the data set without its pipeline, and without loading anything.

        Raises:
            Exception: What its class raises at its arguments.
        """
        self.built = build_dataset(self.dataset, self.scope)

    def step(self, name: str) -> Any:
        """The first transform of this type in its pipeline, built; None if there is none."""
        return build_step(self.dataset, self.scope, name)

    @property
    def load(self) -> Any:
        """What loads pictures: mmcv's transform as the pipeline has it, unless it lets Pillow guess by content."""
        step = self.step('LoadImageFromFile')
        if step is None or step.imdecode_backend != 'cv2':
            return None
        from mmcv.transforms import LoadImageFromFile

        return functools.partial(LoadImageFromFile.transform, step)  # ours would count what is bad

    @property
    def reads(self) -> dict[str, str]:
        """The level of a missing directory, by its key in ``data_prefix``: one that nothing reads is not looked for."""
        maps = any(
            step.get('with_seg')
            or 'Panoptic' in short_name(step.get('type'))
            or (self.format == 'maps' and 'LoadAnnotations' in short_name(step.get('type')))
            for step in dicts_in(self.dataset.get('pipeline'))
        )
        if self.format == 'coco':
            return {'img': 'error', 'seg': 'error' if maps else ''}
        levels = dict.fromkeys(self.facts.prefixes, 'warning')
        if self.format == 'maps':
            levels |= {'img_path': 'error', 'seg_map_path': 'error' if maps else ''}
        return levels

    @property
    def max_bad_fraction(self) -> float:
        """Part of the images that its pipeline may skip."""
        step = None if self.dataset.get('test_mode', False) else self.step('LoadImageFromFile')
        return getattr(step, 'max_bad_fraction', 0.01 if getattr(step, 'ignore_empty', False) else 0.0)

    def check_bad_images(self, bad: Mapping[str, str], total: int, source: str) -> None:
        """Whether a run survives its bad images.

        Args:
            bad: Paths and what is wrong with them.
            total: How many images there are.
            source: What lists the images.
        """
        if not bad:
            return
        share, allowed = len(bad) / total, self.max_bad_fraction
        named = listing(f'{path} ({reason})' for path, reason in bad.items())
        text = f'{len(bad)} of {total} images ({share:.2%}) are missing or do not decode: {named}.'
        if share <= allowed:
            self.warning(f'{text} Training skips them')
            return
        skip = ", or load with type='mmswin.LoadImageFromFile'" if self.training and not allowed else ''
        limit = f'At most {allowed:.2%} may be skipped (max_bad_fraction of mmswin.LoadImageFromFile)'
        self.error(
            f'{text} {limit if allowed else "This pipeline cannot skip an image"}: restore the files or remove them from '
            f'{source}{skip}'
        )


def _format(kind: type | None) -> str:
    ancestors = {ancestor.__name__ for ancestor in kind.__mro__} if kind else set()
    library = kind.__module__.split('.')[0] if kind else ''  # a class of another scope is known where its module is
    if 'CocoDataset' in ancestors and 'CocoPanopticDataset' not in ancestors:
        return 'coco'
    if 'BaseSegDataset' in ancestors and library != 'mmdet':
        return 'maps'
    return 'classes' if 'CustomDataset' in ancestors and library == 'mmpretrain' else ''
