"""Data sets, loaders and evaluators."""

import os
from collections.abc import Sequence
from typing import Any

from mmswin.data.config_facts import default_arguments, leaf_datasets
from mmswin.engine.types import resolve_type
from mmswin.upgrade.findings import Report, Section
from mmswin.upgrade.pipelines import PipelineUpgrade

_SPLITS = ('train', 'val', 'test')
# mmdet's data sets are evaluated by these; anything else is COCO's way.
_METRICS = {
    **dict.fromkeys(('VOCDataset', 'WIDERFaceDataset'), 'VOCMetric'),
    **dict.fromkeys(('OpenImagesDataset', 'OpenImagesChallengeDataset'), 'OpenImagesMetric'),
    'CocoPanopticDataset': 'CocoPanopticMetric',
    **dict.fromkeys(('LVISDataset', 'LVISV05Dataset', 'LVISV1Dataset'), 'LVISMetric'),
}
# mmdet 2.x left out smaller images in training, without an option.
_MIN_SIZE = 32
_PLACES = ('ann_file', 'img_prefix', 'img_dir', 'ann_dir', 'split')
_WRAPPERS = ('RepeatDataset', 'ClassBalancedDataset', 'MultiImageMixDataset')


class DataUpgrade:
    """Translates ``data`` and ``evaluation`` of one configuration."""

    def __init__(self, old: Section, scope: str, report: Report) -> None:
        self.report = report
        self.pipelines = PipelineUpgrade(scope, report)
        self._detection = scope == 'mmdet'
        self._root = old.get('data_root') if isinstance(old.get('data_root'), str) else ''
        self._data = old.section('data')

    def upgrade(self, evaluation: Section, iterations: bool) -> dict[str, Any]:
        """Loaders and evaluators; what belongs to the metric is taken from the old ``evaluation``."""
        data = self._data
        batch, workers = data.take('samples_per_gpu', 1), data.take('workers_per_gpu', 2)
        persistent = data.take('persistent_workers', True)
        found = {split: self._dataset(data.take(split), f'data.{split}', split == 'train') for split in _SPLITS}
        sets = {split: dataset for split, dataset in found.items() if dataset is not None}
        self._name_missing(sets, batch, workers)
        new: dict[str, Any] = {}
        for split, dataset in sets.items():
            extra = data.section(f'{split}_dataloader')
            number = extra.take('workers_per_gpu', workers)
            new[f'{split}_dataloader'] = {
                'batch_size': extra.take('samples_per_gpu', batch if split == 'train' else 1),
                'num_workers': number,
                # torch refuses persistent workers where there are none.
                'persistent_workers': extra.take('persistent_workers', persistent) and number > 0,
                **self._samplers(split == 'train', iterations),
                'dataset': dataset,
            }
            extra.close('no translation for it; see the arguments of torch.utils.data.DataLoader')
        data.close('no translation for it; see train_dataloader in the new file')
        if new:
            names = ', '.join(new)
            self.report.done(f'data -> {names} (samples_per_gpu -> batch_size, workers_per_gpu -> num_workers)')
        return new | self._evaluators(sets, evaluation)

    def _name_missing(self, sets: dict[str, Any], batch: int, workers: int) -> None:
        for split in _SPLITS:
            if split not in sets:
                size = f'batch_size={batch if split == "train" else 1}, num_workers={workers}'
                other = ', which training needs'
                other = other if split == 'train' else f' and {split}_evaluator, or take {split}_cfg out'
                self.report.failed(f'data.{split}', None, f'there is none; add {split}_dataloader ({size}){other}')
        if not sets:
            why = 'no pipeline says mean, std and padding; set them as the weights that training starts from need them'
            self.report.failed('model.data_preprocessor', self.pipelines.preprocessor(), why)

    def _samplers(self, training: bool, iterations: bool) -> dict[str, Any]:
        sampler = {'type': 'InfiniteSampler' if training and iterations else 'DefaultSampler', 'shuffle': training}
        if not self._detection:
            return {'sampler': sampler}
        if training:
            return {'sampler': sampler, 'batch_sampler': {'type': 'AspectRatioBatchSampler'}}
        return {'drop_last': False, 'sampler': sampler}

    def _dataset(self, values: Any, path: str, training: bool) -> dict[str, Any] | None:
        """One data set, wrappers included."""
        if values is None:
            return None
        if isinstance(values, (list, tuple)):
            return self._concatenated(values, path, training)
        old = Section(values, path, self.report)
        if isinstance(old.get('dataset'), (dict, list, tuple)):
            return self._wrapper(old, training)
        if old.get('type') == 'ConcatDataset':
            sets = old.take('datasets')
            old.drop('type')
            old.close('a ConcatDataset of mmengine has its data sets alone; set it in each of them')
            return self._concatenated(sets, path, training)
        for name in ('ann_file', 'img_dir', 'split'):
            if isinstance(old.get(name), (list, tuple)):
                return self._several(old, name, training)
        return self._leaf(old, training)

    def _concatenated(self, sets: Sequence[dict[str, Any]], path: str, training: bool) -> dict[str, Any]:
        new = [self._dataset(one, f'{path}.{index}', training) for index, one in enumerate(sets)]
        return {'type': 'ConcatDataset', 'datasets': new}

    def _wrapper(self, old: Section, training: bool) -> dict[str, Any]:
        inner = self._dataset(old.take('dataset'), old.key('dataset'), training)
        if old.get('type') not in _WRAPPERS:
            why = 'not known as a wrapper of data sets; see whether the new file has what you mean'
            self.report.failed(old.key('type'), old.get('type'), why)
        new = {'type': old.take('type')}
        if old.get('pipeline') is not None:
            new['pipeline'] = self.pipelines.train(old.take('pipeline'), old.key('pipeline'))
        return {**new, **old, 'dataset': inner}

    def _several(self, old: Section, name: str, training: bool) -> dict[str, Any]:
        """A list of annotation files or folders in one data set: several data sets now."""
        count = len(old[name])
        lists = {key for key in _PLACES if isinstance(old.get(key), (list, tuple)) and len(old[key]) == count}
        parts = [{k: v[index] if k in lists else v for k, v in old.items()} for index in range(count)]
        self.report.done(f'{old.path}: a list of {name} -> ConcatDataset')
        return self._concatenated(parts, old.path, training)

    def _leaf(self, old: Section, training: bool) -> dict[str, Any]:
        root = old.take('data_root')
        new: dict[str, Any] = {'type': old.take('type')}
        files = self._places(old, new['type'])
        below = f'{self._root.rstrip("/")}/'
        if root is None and self._root and all(f'{path}/'.startswith(below) for path in files.values() if path):
            root, files = self._root, {key: path[len(below) :].lstrip('/') for key, path in files.items()}
        if root:
            new['data_root'] = root
        annotations = files.pop('ann_file')
        if annotations:
            new['ann_file'] = annotations
        new['data_prefix'] = files
        if isinstance(old.get('classes'), str):
            old.fail('classes', "the name of a file of classes; write the names into metainfo=dict(classes=('...',))")
        metainfo = {name: old.take(name) for name in ('classes', 'palette')}
        if metainfo := {name: value for name, value in metainfo.items() if value is not None}:
            new['metainfo'] = metainfo
            self.report.done(f'{", ".join(metainfo)} -> metainfo')
        if old.get('proposal_file') is not None:
            why = 'proposals are kept by the names of the images now; make the file again, and set proposal_file'
            old.fail('proposal_file', why)
        tested = old.take('test_mode', not training) or not training
        translate = self.pipelines.test if tested else self.pipelines.train
        pipeline = translate(old.take('pipeline') or [], old.key('pipeline'))
        self._options(old, new, training)
        return {**new, **old, 'pipeline': pipeline}

    def _places(self, old: Section, kind: str) -> dict[str, str]:
        """Annotation file and folders under their new names."""
        if self._detection:
            prefix = old.take('img_prefix') or ''
            images = 'sub_data_root' if kind == 'VOCDataset' else 'img'
            places, maps = {'ann_file': old.take('ann_file') or '', images: prefix}, old.take('seg_prefix')
            self.report.done('img_prefix -> data_prefix')
            return {**places, 'seg': maps} if maps else places
        self.report.done('img_dir, ann_dir -> data_prefix')
        renamed = {'ann_file': 'split', 'img_path': 'img_dir', 'seg_map_path': 'ann_dir'}
        return {new: old.take(name) or '' for new, name in renamed.items()}

    def _options(self, old: Section, new: dict[str, Any], training: bool) -> None:
        old.rename_storage()
        if self._detection:
            kept = {'filter_empty_gt': bool(old.take('filter_empty_gt', True)), 'min_size': _MIN_SIZE}
            new.update({'filter_cfg': kept} if training else {'test_mode': True})
            return
        loaded = self.pipelines.reduce_zero_label
        zero = old.take('reduce_zero_label', loaded)
        if loaded is not None and zero != loaded:
            why = f'LoadAnnotations says {loaded}; set reduce_zero_label of the data set, for both, as the maps need it'
            self.report.failed(old.key('reduce_zero_label'), zero, why)
        kinds = resolve_type(new['type'], 'mmseg')
        if zero is not None and zero != any(default_arguments(kind).get('reduce_zero_label') is True for kind in kinds):
            new['reduce_zero_label'] = zero

    def _evaluators(self, sets: dict[str, Any], evaluation: Section) -> dict[str, Any]:
        """``val_evaluator`` and ``test_evaluator``."""
        metric = evaluation.take('metric', 'bbox' if self._detection else 'mIoU')
        evaluation.drop('pre_eval', 'efficient_test', 'gpu_collect', 'tmpdir')
        rest = {name: evaluation.take(name) for name in ('classwise', 'proposal_nums', 'iou_thrs', 'metric_items')}
        rest = {name: value for name, value in rest.items() if value is not None}
        new: dict[str, Any] = {}
        for split in [split for split in ('val', 'test') if split in sets]:
            name, parts = f'{split}_evaluator', [dict(leaf) for _, leaf in leaf_datasets(sets[split], split)]
            new[name] = {**self._evaluator(parts[0], metric), **rest}
            if 'ann_file' in new[name] and len(parts) > 1:
                why = 'the metric reads one file, here the first: write one of them all, or test the sets one by one'
                self.report.failed(f'{name}.ann_file', [part.get('ann_file') for part in parts], why)
        if new:
            self.report.done(f'evaluation.metric -> {", ".join(new)}')
        return new

    def _evaluator(self, dataset: dict[str, Any], metric: Any) -> dict[str, Any]:
        if not self._detection:
            return {'type': 'IoUMetric', 'iou_metrics': [metric] if isinstance(metric, str) else list(metric)}
        kind = _METRICS.get(dataset['type'], 'CocoMetric')
        if kind == 'VOCMetric':
            # As the old evaluation chose by the year of the data set.
            old = '2007' in dataset['data_prefix'].get('sub_data_root', '')
            return {'type': kind, 'metric': 'mAP', 'eval_mode': '11points' if old else 'area'}
        if kind == 'OpenImagesMetric':
            return {'type': kind}
        file = os.path.join(dataset.get('data_root', ''), dataset.get('ann_file', ''))
        if kind == 'CocoPanopticMetric':
            maps = os.path.join(dataset.get('data_root', ''), dataset['data_prefix'].get('seg', ''))
            return {'type': kind, 'ann_file': file, 'seg_prefix': maps}
        unknown = {*([metric] if isinstance(metric, str) else metric)} - {'bbox', 'segm', 'proposal', 'proposal_fast'}
        if unknown:
            why = f'{kind} has bbox, segm, proposal and proposal_fast; choose of these in val_evaluator.metric'
            self.report.failed('evaluation.metric', sorted(unknown), why)
        return {'type': kind, 'ann_file': file, 'metric': metric, 'format_only': False}
