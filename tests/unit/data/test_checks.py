"""Faults of places, evaluation and kinds of data: each gets its own message, and sound data gets none."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.visualization.palette import get_palette
from mmengine.config import Config
from pycocotools.coco import COCO

from mmswin import cli
from mmswin.data.checks import inspect_config


def test_sound_data_gives_no_findings(data) -> None:
    data.write()
    report = inspect_config(data.cfg, ('train', 'val', 'test'), decode=True)
    assert report.findings == [] and report.num_errors == 0
    assert report.summaries == [
        f'train: 10 images, 10 of them usable for training; 30 annotations, 3 categories in {data.file()}',
        f'val: 10 images; 30 annotations, 3 categories in {data.file("val")}',
    ]


def test_unknown_split() -> None:
    with pytest.raises(ValueError, match='unknown split validation: expected train, val or test'):
        inspect_config({}, ('validation',))


# --- places


def test_data_root_that_does_not_exist(data, tmp_path: Path) -> None:
    data.dataset['data_root'] = f'{tmp_path}/nowhere/'
    level, message = data.only()
    assert level == 'error'
    assert f"the data root '{tmp_path}/nowhere/' does not exist: looked for '{tmp_path}/nowhere/annotations/" in message
    assert 'instances_train2017.json' in message and os.getcwd() in message
    assert 'mmswin miniature coco' in message and 'cocodataset.org' in message
    assert '--cfg-options train_dataloader.dataset.data_root=' in message


def test_miniature_that_was_not_made(data) -> None:
    data.dataset['data_root'] = 'data/no_miniature/'
    _, message = data.only()
    assert 'Make it: mmswin miniature coco data/no_miniature/. If it is elsewhere' in message


def test_a_variable_that_the_config_does_not_follow(data, monkeypatch: pytest.MonkeyPatch) -> None:
    data.dataset['data_root'] = 'data/no_miniature/'
    monkeypatch.setenv('MMSWIN_COCO_DIR', '/elsewhere')
    assert 'MMSWIN_COCO_DIR is set, but this config does not follow it.' in data.only()[1]
    data.dataset['data_root'] = '/elsewhere/miniature'
    assert 'does not follow' not in data.only()[1]


@pytest.mark.parametrize(
    'name, holds',
    [
        ('mask_rcnn_swin_t_finetune', 'annotations/train.json, train/'),
        ('upernet_swin_t_finetune', 'images/train, labels/train'),
    ],
)
def test_ones_own_data_are_not_got_from_elsewhere(name: str, holds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MMSWIN_DATA_DIR', 'nowhere')
    cfg = Config.fromfile(Path(__file__).resolve().parents[3] / 'configs' / f'{name}.py')
    (found,) = inspect_config(cfg, ['train']).findings
    assert f'It is to hold your own data, {holds}: set data_root in the config, or export' in found.message
    assert 'MMSWIN_DATA_DIR=DIRECTORY' in found.message and 'http' not in found.message


def test_annotation_file_that_does_not_exist(data) -> None:
    data.dataset['ann_file'] = 'annotations/instances_train2018.json'
    level, message = data.only()
    assert level == 'error'
    assert "instances_train2018.json' does not exist" in message
    assert 'holds instances_train2017.json, instances_val2017.json' in message
    assert 'train_dataloader.dataset.ann_file=FILE' in message


def test_image_directory_that_does_not_exist(data) -> None:
    data.dataset['data_prefix'] = {'img': 'images/'}
    level, message = data.only()
    assert level == 'error' and "images/' (train_dataloader.dataset.data_prefix.img) does not exist" in message


def test_only_what_is_not_there_is_absent(data) -> None:
    data.cfg['model']['roi_head']['mask_head']['num_classes'] = 5
    assert [finding.absent for finding in data.check()] == [False]
    (data.root / 'train2017').rename(data.root / 'elsewhere')
    assert [finding.absent for finding in data.check()] == [True]


def test_image_directory_that_is_not_configured(data) -> None:
    data.dataset['data_prefix'] = {}
    level, message = data.only()
    assert level == 'error' and "train_dataloader.dataset.data_prefix has no 'img'" in message


def test_remote_data_is_said_to_be_unchecked(data) -> None:
    data.dataset['data_root'] = 's3://bucket/coco/'
    level, message = data.only()
    assert level == 'warning' and 's3://bucket/coco/, which cannot be checked from here' in message


# --- evaluation


def test_metric_reads_a_file_that_does_not_exist(data) -> None:
    data.cfg['val_evaluator']['ann_file'] = 'data/coco/annotations/instances_val2017.json'
    level, message = data.only(('val',))
    assert level == 'error' and 'the annotation file of the metric' in message
    assert f'--cfg-options val_evaluator.ann_file={data.file("val")}' in message


def test_metric_reads_a_file_of_other_images(data) -> None:
    data.cfg['val_evaluator'] = [{'type': 'CocoMetric', 'ann_file': str(data.file('train'))}]
    assert data.check(('val',)) == [], 'the same images'
    for image in data.train['images']:
        image['id'] += 100
    level, message = data.only(('val',))
    assert level == 'error' and 'results would be compared with the annotations of other images' in message
    assert '--cfg-options val_evaluator.0.ann_file=' in message


@pytest.mark.parametrize('wrong', [{'data_prefix': 'val'}, {'img_prefix': 'val'}])
def test_a_data_set_that_cannot_be_built_is_named_and_its_metric_is_left(data, wrong: dict) -> None:
    data.cfg['val_dataloader']['dataset'].update(wrong)
    level, message = data.only(('val',))
    assert level == 'error' and 'cannot be built' in message


def test_metrics_of_several_data_sets_read_one_each(data, tmp_path: Path) -> None:
    data.check()
    other = tmp_path / 'other.json'
    content = json.loads(data.file('val').read_text())
    for number, image in enumerate(content['images'], 101):
        image['id'] = number
    content['annotations'] = [{**one, 'image_id': one['image_id'] + 100} for one in content['annotations']]
    other.write_text(json.dumps(content))
    one = data.cfg['val_dataloader']['dataset']
    both = [one, {**one, 'ann_file': str(other)}]
    data.cfg['val_dataloader']['dataset'] = {'type': 'ConcatDataset', 'datasets': both}
    metrics = [{'type': 'CocoMetric', 'ann_file': str(path)} for path in (data.file('val'), other)]
    several = {'type': 'MultiDatasetsEvaluator', 'dataset_prefixes': ['a', 'b'], 'metrics': metrics}
    data.cfg['val_evaluator'] = several
    assert data.check(('val',)) == []
    several['type'] = 'Evaluator'
    assert {finding.level for finding in data.check(('val',))} == {'error'}


def test_metric_needs_iscrowd(data) -> None:
    del data.parts['val']['annotations'][0]['iscrowd']
    level, message = data.only(('val',))
    assert level == 'error' and "the key 'iscrowd' is missing in 1 of 30 annotations" in message


def test_pycocotools_that_stops_without_info(data, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data.check(('val',)) == []
    monkeypatch.setattr(COCO, 'loadRes', lambda self, results: self.dataset['info'])
    level, message = data.only(('val',))
    assert level == 'error' and "has no 'info'" in message and '2.0.11' in message
    data.parts['val']['info'] = {}
    assert data.check(('val',)) == []


def test_images_to_predict_on_need_no_annotations(data) -> None:
    del data.parts['val']['annotations']
    data.cfg['test_dataloader'] = data.cfg['val_dataloader']
    level, message = data.only(('val',))
    assert level == 'error' and "the list 'annotations' is missing" in message
    assert data.check(('test',)) == []


@pytest.mark.parametrize('evaluator', [{'type': 'CocoMetric'}, {'type': 'VOCMetric'}, {'format_only': True}])
def test_a_metric_that_does_not_read_the_file_asks_nothing_of_it(data, evaluator: dict) -> None:
    data.cfg['val_evaluator'] = evaluator if 'type' in evaluator else {**data.cfg['val_evaluator'], **evaluator}
    for annotation in data.parts['val']['annotations']:
        del annotation['iscrowd']
    data.parts['val']['annotations'][0]['id'] = 0
    data.cfg['val_dataloader']['dataset']['indices'] = 2
    assert data.check(('val',)) == []


def test_a_metric_that_counts_more_images_than_the_data_set_gives(data) -> None:
    """AP is 0.2 then for a detector that finds all, as mmdet's own metric says."""
    data.cfg['val_dataloader']['dataset']['indices'] = 2
    level, message = data.only(('val',))
    assert level == 'warning' and 'counts all 10 images' in message and 'gives 2 of them (indices=2)' in message
    assert "--cfg-options val_evaluator.ann_file=None, with 'instances' among meta_keys of PackDetInputs" in message
    metric = CocoMetric(str(data.file('val')))
    metric.dataset_meta = {'classes': ('cat', 'dog', 'bird')}
    found = {'bboxes': torch.tensor([[10.0, 10, 50, 40]] * 3), 'scores': torch.ones(3), 'labels': torch.arange(3)}
    given = [{'img_id': number, 'ori_shape': (60, 80), 'pred_instances': found} for number in range(1, 11)]
    for number, expected in ((10, 1), (2, 0.2)):
        metric.results.clear()
        metric.process({}, given[:number])
        assert metric.evaluate(number)['coco/bbox_mAP'] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(('draw', 'level'), [(False, 'warning'), (True, 'error')])
def test_fewer_colours_than_classes(data, draw: bool, level: str) -> None:
    data.dataset['metainfo'] = data.cfg['val_dataloader']['dataset']['metainfo'] = {
        'classes': ('cat', 'dog', 'bird'), 'palette': [(220, 20, 60)],
    }  # fmt: skip
    data.cfg['default_hooks'] = {'visualization': {'type': 'DetVisualizationHook', 'draw': draw}}
    found, message = data.only(('train', 'val'))
    assert found == level and '1 colours' in message and '3 classes' in message
    assert '--cfg-options val_dataloader.dataset.metainfo.palette=random' in message
    data.cfg['val_dataloader']['dataset']['metainfo']['palette'] = 'random'
    assert data.check(('val',)) == [] and len(get_palette('random', 3)) == 3


# --- wrappers, other kinds of data, surroundings


@pytest.mark.parametrize(
    ('wrap', 'where'),
    [
        (lambda inner: {'type': 'RepeatDataset', 'times': 2, 'dataset': inner}, 'train_dataloader.dataset.dataset'),
        (lambda inner: {'type': 'ClassBalancedDataset', 'dataset': inner}, 'train_dataloader.dataset.dataset'),
        (
            lambda inner: {
                'type': 'ConcatDataset',
                'datasets': [dict(inner, metainfo={'classes': ('cat', 'dog', 'bird')}), inner],
            },
            'train_dataloader.dataset.datasets.1',
        ),
        (
            lambda inner: {'type': 'MultiImageMixDataset', 'dataset': {'type': 'RepeatDataset', 'dataset': inner}},
            'train_dataloader.dataset.dataset.dataset',
        ),
    ],
)
def test_wrapped_datasets(data, wrap: Callable[[dict], dict], where: str) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'dog', 'horse')}
    data.cfg['train_dataloader']['dataset'] = wrap(data.dataset)
    level, message = data.only()
    assert level == 'error' and f'{where}.metainfo.classes are not among them: horse' in message


def test_contents_of_other_kinds_of_data_are_not_judged(tmp_path: Path) -> None:
    for name in ('a', 'b', 'labels'):
        (tmp_path / name).mkdir()
    prefixes = {'img_path': 'a', 'img_path2': 'b', 'seg_map_path': 'labels'}
    dataset = {'type': 'BaseCDDataset', 'data_root': str(tmp_path), 'data_prefix': prefixes}
    report = inspect_config({'default_scope': 'mmseg', 'train_dataloader': {'dataset': dataset}}, ('train',))
    assert report.findings == [] and 'BaseCDDataset' in report.summaries[0] and 'not checked' in report.summaries[0]
    (tmp_path / 'b').rmdir()
    report = inspect_config({'default_scope': 'mmseg', 'train_dataloader': {'dataset': dataset}}, ('train',))
    assert [finding.level for finding in report.findings] == ['warning'], 'it may not be read'


# --- no untrue refusal


@pytest.mark.parametrize('content', ['no list of annotations', 'an empty one'])
def test_data_without_labels_may_stand_next_to_labelled_data(data, content: str) -> None:
    """Semi-supervised training; alone they are nothing to learn from."""
    labelled = data.dataset
    bare = {**data.train, 'annotations': []}
    if content == 'no list of annotations':
        del bare['annotations']
    data.write()
    (data.root / 'bare.json').write_text(json.dumps(bare))
    unlabelled = {**labelled, 'ann_file': 'bare.json', 'filter_cfg': {'filter_empty_gt': False}}
    data.cfg['train_dataloader']['dataset'] = {'type': 'ConcatDataset', 'datasets': [labelled, unlabelled]}
    assert [finding.level for finding in data.check(write=False)] == ['warning']
    data.cfg['train_dataloader']['dataset'] = unlabelled
    level, message = data.only(write=False)
    assert level == 'error' and 'bare.json' in message


def test_a_directory_that_nothing_reads_need_not_be_there(data) -> None:
    data.dataset['data_prefix']['seg'] = 'stuff/'
    assert data.check() == []
    data.dataset['pipeline'][1]['with_seg'] = True
    level, message = data.only()
    assert level == 'error' and 'data_prefix.seg' in message


def test_advice_names_keys_that_can_be_set(data) -> None:
    data.dataset['metainfo'] = {'classes': ('cat', 'dog', 'bird')}
    data.cfg['model']['roi_head']['mask_head']['num_classes'] = 5
    assert '--cfg-options train_dataloader.dataset.metainfo.classes=' in data.only()[1]
    del data.dataset['metainfo'], data.dataset['data_root']
    data.dataset['ann_file'] = 'nowhere.json'
    assert '--cfg-options +train_dataloader.dataset.data_root=DIRECTORY' in data.check()[0].message


def test_what_files_and_configurations_say_is_shown_escaped(data, capsys):
    data.train['categories'][0]['name'] = 'c\x1b[2Jat'
    data.train['images'][0]['file_name'] = 'gone\x1b]0;x\x07.jpg'
    data.train['annotations'][0]['bbox'] = ['\x1b[31m', 1, 2, 3]
    data.dataset['metainfo'] = {'classes': ('c\u202eat', 'dog', 'bird')}
    data.write()
    data.file('val').rename(data.root / 'va\x1bl.json')
    data.cfg['val_dataloader']['dataset']['ann_file'] = 'va\x1bl.json'
    data.cfg['val_evaluator']['ann_file'] = str(data.root / 'va\x1bl.json')
    config = data.root / 'config.py'
    config.write_text('\n'.join(f'{name} = {value!r}' for name, value in data.cfg.items()))
    assert cli.main(['check', str(config)]) == 1
    said = capsys.readouterr().out
    assert all(
        name in said for name in (r'c\x1b[2Jat', r'gone\x1b]0;x\x07.jpg', r'va\x1bl.json', r'c\u202eat', r'\x1b[31m')
    )
    assert all(character.isprintable() for character in said.replace('\n', ''))
