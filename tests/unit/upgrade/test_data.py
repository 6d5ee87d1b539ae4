"""Data sets, loaders and evaluators."""

from typing import Any

import pytest

from mmswin.upgrade.data import DataUpgrade
from mmswin.upgrade.findings import Report, Section

TRAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', reduce_zero_label=True),
    dict(type='DefaultFormatBundle'),
    dict(type='Collect', keys=['img']),
]
PLAIN = [step for step in TRAIN if step['type'] != 'LoadAnnotations']


def upgrade(
    scope: str, train: Any, val: Any = None, evaluation: dict | None = None, iterations: bool = False, **top: Any
) -> tuple[dict[str, Any], Report]:
    """The new loaders and evaluators."""
    report = Report()
    val = val or dict(type='CocoDataset', ann_file='val.json', img_prefix='val/', pipeline=PLAIN)
    data = dict(samples_per_gpu=2, workers_per_gpu=3, train=train, val=val, test=val)
    old = Section(dict(top, data=data), '', report)
    return DataUpgrade(old, scope, report).upgrade(Section(evaluation, 'evaluation', report), iterations), report


def test_voc() -> None:
    """Lists of files are concatenated; the year decides how precision is averaged."""
    root = 'data/VOCdevkit/'
    years = ('2007', '2012')
    one = dict(type='VOCDataset', pipeline=PLAIN)
    train = dict(
        type='RepeatDataset',
        times=3,
        dataset=dict(
            one,
            ann_file=[f'{root}VOC{year}/ImageSets/Main/trainval.txt' for year in years],
            img_prefix=[f'{root}VOC{year}/' for year in years],
        ),
    )
    for year, mode in zip(years, ('11points', 'area'), strict=True):
        val = dict(one, ann_file=f'{root}VOC{year}/ImageSets/Main/test.txt', img_prefix=f'{root}VOC{year}/')
        new, report = upgrade('mmdet', train, val, dict(metric='mAP'), data_root=root)
        assert report.untranslated == []
        parts = new['train_dataloader']['dataset']['dataset']['datasets']
        assert [(part['data_root'], part['ann_file'], part['data_prefix']) for part in parts] == [
            (root, f'VOC{y}/ImageSets/Main/trainval.txt', dict(sub_data_root=f'VOC{y}/')) for y in years
        ]
        assert new['val_evaluator'] == new['test_evaluator'] == dict(type='VOCMetric', metric='mAP', eval_mode=mode)


def test_several_lists_of_one_folder() -> None:
    """As in mmseg's PASCAL VOC 2012 with the augmented set."""
    one = dict(type='PascalVOCDataset', data_root='voc', img_dir='images', pipeline=TRAIN)
    train = dict(one, split=['train.txt', 'aug.txt'], ann_dir=['maps', 'more'])
    new, report = upgrade('mmseg', train, dict(one, split='val.txt', ann_dir='maps'))
    assert [(part['ann_file'], part['data_prefix']) for part in new['train_dataloader']['dataset']['datasets']] == [
        ('train.txt', dict(img_path='images', seg_map_path='maps')),
        ('aug.txt', dict(img_path='images', seg_map_path='more')),
    ]
    assert report.untranslated == []


def test_a_folder_beside_the_root_whose_name_begins_alike() -> None:
    one = dict(type='CocoDataset', ann_file='data/coco2017/a.json', img_prefix='data/coco2017/', pipeline=PLAIN)
    for root, expected in (
        ('data/coco', (None, 'data/coco2017/a.json', 'data/coco2017/')),
        ('data/coco2017', ('data/coco2017', 'a.json', '')),
    ):
        dataset = upgrade('mmdet', one, data_root=root)[0]['train_dataloader']['dataset']
        assert (dataset.get('data_root'), dataset['ann_file'], dataset['data_prefix']['img']) == expected


def test_validation_on_several_files_is_named() -> None:
    val = dict(type='CocoDataset', ann_file=['a.json', 'b.json'], img_prefix=['a/', 'b/'], pipeline=PLAIN)
    _, report = upgrade('mmdet', dict(val, ann_file='a.json', img_prefix='a/'), val)
    assert [entry.key for entry in report.untranslated] == ['val_evaluator.ann_file', 'test_evaluator.ann_file']
    assert report.untranslated[0].value == ['a.json', 'b.json']


@pytest.mark.parametrize(
    ('kind', 'metric', 'evaluator', 'named'),
    [
        ('WIDERFaceDataset', 'mAP', dict(type='VOCMetric', metric='mAP', eval_mode='area'), []),
        ('OpenImagesDataset', 'mAP', dict(type='OpenImagesMetric'), []),
        ('CocoPanopticDataset', 'PQ', dict(type='CocoPanopticMetric', ann_file='val.json', seg_prefix='maps/'), []),
        ('CocoDataset', 'PQ', None, ['evaluation.metric']),
    ],
)
def test_metrics_of_other_data_sets(kind: str, metric: str, evaluator: dict | None, named: list[str]) -> None:
    one = dict(type=kind, ann_file='val.json', img_prefix='val/', seg_prefix='maps/', pipeline=PLAIN)
    new, report = upgrade('mmdet', one, one, dict(metric=metric))
    assert [entry.key for entry in report.untranslated] == named
    assert evaluator is None or new['val_evaluator'] == evaluator


def test_colours_without_classes() -> None:
    one = dict(type='ADE20KDataset', data_root='data', img_dir='images', ann_dir='maps', pipeline=TRAIN)
    new, _ = upgrade('mmseg', dict(one, palette=[[1, 2, 3]]), one)
    assert new['train_dataloader']['dataset']['metainfo'] == dict(palette=[[1, 2, 3]])
    assert 'metainfo' not in new['val_dataloader']['dataset']


def test_several_training_sets() -> None:
    one = dict(type='CocoDataset', ann_file='a.json', img_prefix='a/', pipeline=PLAIN)
    new, report = upgrade('mmdet', [one, dict(one, ann_file='b.json')])
    assert [part['ann_file'] for part in new['train_dataloader']['dataset']['datasets']] == ['a.json', 'b.json']
    assert new['val_evaluator'] == dict(type='CocoMetric', ann_file='val.json', metric='bbox', format_only=False)
    assert new['train_dataloader']['num_workers'] == 3
    assert new['train_dataloader']['batch_sampler'] == dict(type='AspectRatioBatchSampler')
    assert report.untranslated == []


@pytest.mark.parametrize(
    ('kind', 'said', 'expected'),
    [
        ('ADE20KDataset', True, None),
        ('ADE20KDataset', False, False),
        ('MyDataset', True, True),
        ('MyDataset', None, None),
    ],
)
def test_label_zero(kind: str, said: bool | None, expected: bool | None) -> None:
    """``LoadAnnotations`` said it; the data set does now, and some data sets know it by themselves."""
    load = dict(type='LoadAnnotations', **({} if said is None else dict(reduce_zero_label=said)))
    one = dict(type=kind, data_root='data', img_dir='images', ann_dir='maps', split='train.txt')
    new, report = upgrade(
        'mmseg', dict(one, pipeline=[TRAIN[0], load, *TRAIN[2:]]), dict(one, pipeline=PLAIN), iterations=True
    )
    for loader in ('train_dataloader', 'val_dataloader'):
        dataset = new[loader]['dataset']
        assert dataset.get('reduce_zero_label') is expected
        assert dataset['ann_file'] == 'train.txt'
        assert dataset['data_prefix'] == dict(img_path='images', seg_map_path='maps')
        assert all('reduce_zero_label' not in step for step in dataset['pipeline'])
    assert new['train_dataloader']['sampler'] == dict(type='InfiniteSampler', shuffle=True)
    assert new['val_evaluator'] == dict(type='IoUMetric', iou_metrics=['mIoU'])
    assert report.untranslated == []


def test_label_zero_said_twice_and_differently() -> None:
    one = dict(type='ADE20KDataset', data_root='data', img_dir='images', ann_dir='maps')
    _, report = upgrade('mmseg', dict(one, pipeline=TRAIN, reduce_zero_label=False), dict(one, pipeline=PLAIN))
    assert [entry.key for entry in report.untranslated] == ['data.train.reduce_zero_label']


def test_classes_in_a_file_are_named() -> None:
    one = dict(type='CocoDataset', ann_file='a.json', img_prefix='a/', pipeline=PLAIN, classes='classes.txt')
    _, report = upgrade('mmdet', one)
    assert [entry.key for entry in report.untranslated] == ['data.train.classes']


def test_a_storage_that_is_not_a_disk() -> None:
    client = dict(backend='petrel', path_mapping={'data/': 's3://bucket/'})
    load = dict(type='LoadImageFromFile', file_client_args=client)
    one = dict(
        type='CocoDataset', ann_file='a.json', img_prefix='a/', file_client_args=client, pipeline=[load, *PLAIN[1:]]
    )
    new, report = upgrade('mmdet', one)
    dataset = new['train_dataloader']['dataset']
    assert dataset['backend_args'] == client and dataset['pipeline'][0]['backend_args'] == client
    assert report.untranslated == []


def test_no_workers() -> None:
    """torch refuses persistent workers where there are none."""
    one = dict(type='CocoDataset', ann_file='a.json', img_prefix='a/', pipeline=PLAIN)
    report = Report()
    data = dict(samples_per_gpu=2, workers_per_gpu=0, train=one, val=one, test=one)
    new = DataUpgrade(Section(dict(data=data), '', report), 'mmdet', report).upgrade(
        Section(None, 'evaluation', report), False
    )
    assert [new[f'{split}_dataloader']['persistent_workers'] for split in ('train', 'val', 'test')] == [False] * 3


def test_what_a_concatenation_has_besides_is_named() -> None:
    one = dict(type='CocoDataset', ann_file='a.json', img_prefix='a/', pipeline=PLAIN)
    new, report = upgrade('mmdet', dict(type='ConcatDataset', datasets=[one, one], separate_eval=False))
    assert len(new['train_dataloader']['dataset']['datasets']) == 2
    assert [(entry.key, entry.value) for entry in report.untranslated] == [('data.train.separate_eval', False)]
