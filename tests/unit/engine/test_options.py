"""--cfg-options: keys that something reads pass, all others are refused with the nearest keys, and + adds any."""

import pytest
from mmengine.config import Config

from mmswin.engine.options import check_options, merge_options, parse_options
from mmswin.errors import RunError


@pytest.fixture
def cfg() -> Config:
    dataset = {
        'type': 'CocoDataset',
        'data_root': 'data/coco/',
        'ann_file': 'a.json',
        'filter_cfg': {'filter_empty_gt': True},
        'metainfo': {'classes': ('a',)},
        'pipeline': [{'type': 'LoadImageFromFile'}, {'type': 'Resize', 'scale': (64, 64)}],
    }
    return Config(
        {
            'default_scope': 'mmdet',
            'data_root': 'data/coco/',
            'model': {
                'type': 'RetinaNet',
                'backbone': {'type': 'ResNet', 'depth': 50, 'init_cfg': None},
                'test_cfg': {'score_thr': 0.05},
            },
            'train_dataloader': {'batch_size': 2, 'dataset': dataset},
            'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': 12},
            'param_scheduler': [
                {'type': 'LinearLR', 'start_factor': 0.1},
                {'type': 'MultiStepLR', 'milestones': [8, 11]},
            ],
            'optim_wrapper': {
                'type': 'AmpOptimWrapper',
                'optimizer': {'type': 'AdamW', 'lr': 1e-4},
                'paramwise_cfg': {'custom_keys': {'norm': {'decay_mult': 0.0}}},
            },
            'env_cfg': {'dist_cfg': {'backend': 'nccl'}},
            'auto_scale_lr': {'base_batch_size': 16},
            'default_hooks': {'logger': {'type': 'LoggerHook'}},
        }
    )


@pytest.mark.parametrize(
    'key',
    [
        'train_dataloader.batch_size',
        'train_dataloader.prefetch_factor',  # an argument of torch's DataLoader
        'train_dataloader.batch_sampler.type',
        'train_dataloader.dataset.pipeline.1.keep_ratio',  # of the class Resize, defined in its base
        'train_dataloader.dataset.metainfo.palette',
        'train_dataloader.dataset.filter_cfg.min_size',
        'train_dataloader.dataset.indices',  # of BaseDataset, through **kwargs
        'train_cfg.val_interval',
        'param_scheduler.0.end',
        'param_scheduler.1.gamma',
        'optim_wrapper.clip_grad.max_norm',  # of OptimWrapper, through **kwargs
        'optim_wrapper.accumulative_counts',
        'optim_wrapper.optimizer.betas',
        'optim_wrapper.paramwise_cfg.custom_keys.bias.lr_mult',
        'optim_wrapper.paramwise_cfg.custom_keys.norm.lr_mult',
        'optim_wrapper.paramwise_cfg.norm_decay_mult',
        'model.backbone.frozen_stages',
        'model.backbone.init_cfg.checkpoint',
        'env_cfg.dist_cfg.timeout',
        'env_cfg.cudnn_benchmark',
        'auto_scale_lr.enable',
        'train_dataloader.num_batch_per_epoch',
        'randomness.seed',
        'default_hooks.early_stopping.type',
        'find_unused_parameters',
        'load_from',
    ],
)
def test_keys_that_are_read_pass(cfg, key):
    assert check_options(cfg, {key: 1}) == {key: 1}


@pytest.mark.parametrize(
    ('key', 'said'),
    [
        ('modle.backbone.depth', ['model']),
        ('model.backbone.dept', ['model.backbone.depth']),
        ('backbone.depth', ['model.backbone.depth']),
        ('model.backbone.frozen_stagse', ['model.backbone.frozen_stages']),  # an argument that the config does not set
        ('model.test_cfg.score_threshold', ['model.test_cfg.score_thr']),
        ('train_dataloader.batchsize', ['train_dataloader.batch_size']),
        ('train_dataloader.dataset.filter_cfg.min_sise', ['filter_cfg.filter_empty_gt']),
        ('param_scheduler.\xb2.end', ['is a list of 2']),
        ('train_dataloader.batch_size.x', ['train_dataloader.batch_size is 2']),
        ('train_cfg.max_epoch', ['train_cfg.max_epochs']),
        ('optim_wrapper.optimizer.momentum', ['optim_wrapper.optimizer.lr']),
        ('optim_wrapper.lr', ['optim_wrapper.optimizer.lr']),
        ('param_scheduler.2.end', ['has 2 entries (0 to 1), not 2']),
        ('param_scheduler.end', ['is a list of 2', 'param_scheduler.N.NAME']),
        ('param_scheduler.1.milestones.0', ['give the whole list', 'param_scheduler.1.milestones="[8, 11]"']),
        ('data_root', ['helper variable', 'train_dataloader.dataset.data_root']),
        ('env_cfg.dist_cfg.bakend', ['env_cfg.dist_cfg.backend']),
        ('env_cfg.batch_size', ['train_dataloader.batch_size']),
        ('optim_wrapper.paramwise_cfg.decay_rate', ['custom_keys']),
        ('optim_wrapper.paramwise_cfg.custom_keys.norm.lr_mul', ['decay_mult']),
    ],
)
def test_other_keys_are_refused_with_what_was_meant(cfg, key, said):
    with pytest.raises(RunError) as caught:
        check_options(cfg, {key: 1})
    message = str(caught.value)
    assert message.startswith(f'--cfg-options {key}: ')
    assert '\n' not in message
    for text in said:
        assert text in message


def test_plus_adds_any_key(cfg):
    merge_options(cfg, {'+model.test_cfg.extra.deep': 3, '+data_root': 'elsewhere', 'model.backbone.depth': 101})
    assert cfg.model.test_cfg == {'score_thr': 0.05, 'extra': {'deep': 3}}
    assert cfg.data_root == 'elsewhere'
    assert cfg.model.backbone.depth == 101


@pytest.mark.parametrize(
    'constructor', ['mmswin.LayerDecayOptimWrapperConstructor', 'LearningRateDecayOptimizerConstructor']
)
def test_the_constructor_says_what_paramwise_cfg_takes(cfg, constructor):
    cfg.optim_wrapper.constructor = constructor
    for name in ('decay_rate', 'norm_decay_mult'):
        check_options(cfg, {f'optim_wrapper.paramwise_cfg.{name}': 0.9})
    with pytest.raises(RunError, match='decay_rat'):
        check_options(cfg, {'optim_wrapper.paramwise_cfg.decay_rat': 0.9})


def test_nothing_to_merge_leaves_the_config(cfg):
    before = cfg.pretty_text
    merge_options(cfg, None)
    merge_options(cfg, {})
    assert cfg.pretty_text == before


def test_arguments_are_judged_by_the_type_that_the_command_gives(cfg):
    loss, rule = 'model.bbox_head.loss_bbox', 'model.test_cfg.nms'
    cfg.model.bbox_head = {'type': 'RetinaHead', 'loss_bbox': {'type': 'L1Loss', 'loss_weight': 1.0}}
    cfg.model.test_cfg.nms = {'type': 'nms', 'iou_threshold': 0.5}
    check_options(cfg, {f'{loss}.type': 'SmoothL1Loss', f'{loss}.beta': 0.5})
    check_options(cfg, {f'{rule}.type': 'soft_nms', f'{rule}.min_score': 0.01})  # no class: nobody knows
    for options in ({f'{loss}.beta': 0.5}, {f'{loss}.type': 'SmoothL1Loss', f'{loss}.betta': 0.5}):
        with pytest.raises(RunError, match=r'\+model\.bbox_head\.loss_bbox\.bet'):
            check_options(cfg, options)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('General trash', 'General trash'),
        ("('General trash', 'b')", ('General trash', 'b')),
        ('[General trash, b]', ['General trash', 'b']),
        ('1, 2', [1, 2]),
        ('[1, 2]', [1, 2]),
        ('[(1, a b), 2.5]', [(1, 'a b'), 2.5]),
        ('True', True),
        ('None', None),
        ("{'type': 'EMAHook'}", {'type': 'EMAHook'}),
        ('a=b', 'a=b'),
    ],
)
def test_values_are_read_with_their_spaces(text, value):
    assert parse_options([f'a.b={text}']) == {'a.b': value}


@pytest.mark.parametrize('text', ['a.b', 'a.b=[1,(2]'])
def test_what_is_no_option(text):
    with pytest.raises(RunError, match=r'a\.b'):
        parse_options([text])
