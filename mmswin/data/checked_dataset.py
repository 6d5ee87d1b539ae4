"""One data set of a configuration while it is checked: what is known of it, and what has been found."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmswin.data.config_facts import (
    ancestors,
    build_dataset,
    build_step,
    can_be_lazy,
    dicts_in,
    option,
    registered_class,
    short_name,
    walk,
)
from mmswin.data.pictures import listing, sample, sizes_as_loaded
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
        kind: Its class; None if that cannot be found, for the reason ``unknown``.
        format: What of it can be checked: ``'coco'``, label ``'maps'``, ``'classes'`` of whole pictures, or '' for none.
        training: Whether it is trained on.
        built: The data set itself, not loaded; None before :meth:`build`, and if its class cannot be built so.
        useless: Why nothing of it can be trained on, '' if something can.
        content: What its annotation file holds, where an evaluation may need it.
        images: Ids of the images that it gives, None where they are not known.
    """

    def __init__(
        self, cfg: Mapping[str, Any], split: str, where: str, dataset: Mapping[str, Any], decode: bool, report: Report
    ) -> None:
        self.cfg, self.split, self.where, self.dataset = cfg, split, where, dataset
        self.decode, self.report, self.scope = decode, report, cfg.get('default_scope')
        self.kind, self.unknown = registered_class(dataset, self.scope)
        self.format = _format(self.kind)
        self.training = split == 'train' and not dataset.get('test_mode', False)
        self.built: Any = None
        self.useless = ''
        self.content: Mapping[str, Any] | None = None
        self.images: set[Any] | None = None

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
        if can_be_lazy(self.kind):
            self.built = build_dataset(self.dataset, self.scope)
        else:
            self.format, self.unknown = '', self.unknown or 'it cannot be built without loading its data'

    @property
    def ann_file(self) -> str:
        """Path of its annotation file, '' if there is none."""
        path = self.built.ann_file
        return path if isinstance(path, str) else ''

    @property
    def prefixes(self) -> dict[str, str]:
        """Its directories by their keys in ``data_prefix``."""
        return {key: place or '.' for key, place in self.built.data_prefix.items() if isinstance(place, str)}

    @property
    def remote(self) -> str:
        """A place of it that is not on the local file system, '' if all are."""
        backend = (self.dataset.get('backend_args') or {}).get('backend', 'local')
        places = [self.dataset.get(name) for name in ('data_root', 'ann_file', 'data_prefix')]
        found = [place for _, place in walk(places) if isinstance(place, str) and '://' in place]
        return found[0] if found else '' if backend == 'local' else f'the storage backend {backend!r}'

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
        levels = dict.fromkeys(self.prefixes, 'error' if self.format == 'classes' else 'warning')
        if self.format == 'maps':
            levels |= {'img_path': 'error', 'seg_map_path': 'error' if maps else ''}
        return levels

    @property
    def max_bad_fraction(self) -> float:
        """Part of the images that its pipeline may skip."""
        step = None if self.dataset.get('test_mode', False) else self.step('LoadImageFromFile')
        return getattr(step, 'max_bad_fraction', 0.01 if getattr(step, 'ignore_empty', False) else 0.0)

    def taken(self, records: Sequence[Any]) -> Sequence[Any]:
        """Those of its images that ``indices`` leaves: some at one end of the list, or those named."""
        indices = self.dataset.get('indices')
        if indices is None:
            return records
        if isinstance(indices, int):
            return records[:indices] if indices >= 0 else records[indices:]
        try:
            return [records[index] for index in indices]
        except IndexError:
            self.error(f'{self.where}.indices goes beyond the {len(records)} images')
            return records

    def look_at(
        self,
        paths: Collection[str],
        missing: Sequence[str],
        source: str,
        said: Mapping[str, tuple[int, int]] | None = None,
        every: bool = False,
    ) -> dict[str, tuple[int, int]]:
        """Sizes of a sample of images (all with ``every`` or ``decode``) as loaded; notes whether a run survives the bad ones.

        Args:
            paths: Of all of them.
            missing: Those known not to be there.
            source: What lists them.
            said: Sizes that they should have.
            every: Look at all.
        """
        gone, allowed = {*missing}, self.max_bad_fraction
        chosen = sample([path for path in paths if path not in gone], every or self.decode)
        sizes, bad = sizes_as_loaded(chosen, self.load, self.decode, said)
        reasons, there = dict.fromkeys(missing, 'missing') | bad, len(paths) - len(missing)
        if not reasons:
            return sizes
        share = (len(missing) + len(bad) * there / max(1, len(chosen))) / len(paths)
        extent = f' by the {len(chosen)} looked at' if bad and len(chosen) < there else ''
        named = listing(f'{path} ({reason})' for path, reason in reasons.items())
        text = f'{len(reasons)} of {len(paths)} images ({share:.2%}{extent}) are missing or do not decode: {named}.'
        if share <= allowed:
            self.warning(f'{text} Training skips them')
            return sizes
        skip = ", or load with type='mmswin.LoadImageFromFile'" if self.training and not allowed else ''
        limit = f'At most {allowed:.2%} may be skipped (max_bad_fraction of mmswin.LoadImageFromFile)'
        self.error(
            f'{text} {limit if allowed else "This pipeline cannot skip an image"}: restore the files or remove them from '
            f'{source}{skip}'
        )
        return sizes


def _format(kind: type | None) -> str:
    bases = ancestors(kind)
    if 'mmdet.CocoDataset' in bases and 'mmdet.CocoPanopticDataset' not in bases:
        return 'coco'
    return 'maps' if 'mmseg.BaseSegDataset' in bases else 'classes' if 'mmpretrain.CustomDataset' in bases else ''
