"""Of a checkpoint a run sees weights and known facts: what a run saves comes through, what decides does not."""

from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmswin.checkpoints import CheckpointError
from mmswin.checkpoints.facts import facts


def _run(directory):
    """What mmengine saves of a run, in its types."""
    hub = {
        'log_scalars': OrderedDict({'train/loss': HistoryBuffer([0.5], [1])}),
        'runtime_info': OrderedDict(
            seed=1, experiment_name='swin', epoch=2, iter=8, max_epochs=3, loop_stage='train', eta=1.5,
            best_score=np.float64(0.5), best_ckpt=f'{directory}/best_acc_epoch_1.pth', keep_ckpt_ids=[1, 2],
            last_ckpt=f'{directory}/epoch_2.pth', dataset_meta={'classes': ('a', 'b')}, mmengine_version='0.10.7',
        ),
    }  # fmt: skip
    hub['runtime_info']['val/table'] = [['a', 0.5]]
    hub['resumed_keys'] = OrderedDict(dict.fromkeys([*hub['log_scalars'], *hub['runtime_info']], True))
    return {
        'meta': {'epoch': 2, 'iter': 8, 'seed': 1, 'experiment_name': 'swin', 'time': '2026', 'mmengine_version': '1',
                 'dataset_meta': {'classes': ('a', 'b'), 'palette': [(1, 2, 3), (4, 5, 6)]},
                 'random_state': {'scheme': 1, 'seed': 1, 'iteration': 8}},
        'state_dict': OrderedDict(weight=torch.ones(2), steps=torch.tensor(3)),
        'ema_state_dict': OrderedDict({'module.weight': torch.ones(2)}),
        'message_hub': hub,
        'optimizer': {'state': {0: {'step': torch.tensor(8.0)}}, 'loss_scaler': {'scale': 2.0},
                      'param_groups': [{'lr': 0.1, 'betas': (0.9, 0.99), 'params': [0], 'foreach': None, 'name': 'a'}]},
        'param_schedulers': [{'milestones': Counter([1, 3]), 'param_name': 'lr', 'last_step': 8, 'base_values': [0.1]}],
        'counter_of_a_hook': {'seen': 3},
    }  # fmt: skip


def test_what_a_run_saves_comes_through(tmp_path):
    run = _run(tmp_path)
    assert facts(run, tmp_path) == run
    assert facts(facts(run, tmp_path), tmp_path) == run
    assert type(facts(run, tmp_path)['param_schedulers'][0]['milestones']) is Counter


@pytest.mark.parametrize(
    ('part', 'key', 'value'),
    [
        ('meta', 'config', 'import os'),
        ('meta', 'cfg', 'import os'),
        ('meta', 'iter', 'x'),
        ('meta', 'iter', -1),
        ('meta', 'iter', True),
        ('meta', 'epoch', 2**60),
        ('meta', 'seed', '1'),
        ('meta', 'experiment_name', 'a\x1b[2J'),
        ('meta', 'dataset_meta', 'classes'),
        ('meta', 'random_state', {'scheme': 'x'}),
        ('meta', 'hook_msgs', {'last_ckpt': '/etc'}),
        ('runtime_info', 'cfg', 'import os'),
        ('runtime_info', 'anything', 'text'),
        ('runtime_info', 'keep_ckpt_ids', ['../../x']),
        ('runtime_info', 'best_score', 'high'),
        ('runtime_info', 'best_score_a', [1, 2]),
        ('runtime_info', 'iterations_per_epoch', torch.ones(2)),
        ('runtime_info', 'best_ckpt', 'folder/best_acc.pth'),
        ('runtime_info', 'best_ckpt_acc', '/best_acc.pth'),
        ('runtime_info', 'best_ckpt', '{}/epoch_1.pth'),
        ('runtime_info', 'best_ckpt', '{}/best_folder.pth'),
        ('runtime_info', 'best_ckpt', '{}/../best_acc.pth'),
        ('runtime_info', 'best_ckpt', '{}/best_a.pth/..'),
        ('log_scalars', 'train/loss', [0.5]),
        ('resumed_keys', 'cfg', True),
        ('schedulers', 'step', 1),
        ('schedulers', 'optimizer', {}),
        ('schedulers', '_get_value', 'x'),
        ('schedulers', '__class__', 'x'),
    ],
)
def test_what_decides_stays_outside(tmp_path, part, key, value):
    (tmp_path / 'best_folder.pth').mkdir()
    run = _run(tmp_path)
    places = {'meta': lambda run: run['meta'], 'schedulers': lambda run: run['param_schedulers'][0]}
    place = places.get(part, lambda run: run['message_hub'][part])
    place(run)[key] = value.replace('{}', str(tmp_path)) if isinstance(value, str) else value
    assert key not in place(facts(run, tmp_path))


def test_a_best_checkpoint_is_of_a_directory_that_is_known(tmp_path):
    run = _run(tmp_path)
    for directory in (None, tmp_path / 'other'):
        kept = facts(run, directory)['message_hub']
        assert 'best_ckpt' not in kept['runtime_info']
        assert 'best_ckpt' not in kept['resumed_keys']
    (tmp_path / 'link').symlink_to(tmp_path)
    assert 'best_ckpt' in facts(run, tmp_path / 'link')['message_hub']['runtime_info']


def test_other_weights_and_no_configuration():
    swin = {'model': {'a': torch.zeros(1), 'b': 'text'}, 'epoch': 3, 'config': {'LR': 1, 'TAG': 'x'}, 'args': 'x', 3: 4}
    assert facts(swin) == {'model': {'a': torch.zeros(1)}, 'epoch': 3}
    weights = OrderedDict(a=torch.zeros(1))
    weights._metadata = {'': {'assign_to_params_buffers': True}}
    for kept in (facts(weights), facts({'state_dict': weights})['state_dict']):
        assert not hasattr(kept, '_metadata')


def test_names_that_a_log_would_show_are_escaped():
    for file in ({'a\x1b[2J': torch.zeros(1)}, {'state_dict': {'a\x1b[2J': torch.zeros(1)}}):
        kept = facts(file)
        assert list(kept.get('state_dict', kept)) == [r'a\x1b[2J']


@pytest.mark.parametrize('value', [None, 'text', 3, [1], ['x']])
@pytest.mark.parametrize('part', ['meta', 'message_hub', 'optimizer', 'param_schedulers', 'state_dict'])
def test_states_that_are_none(tmp_path, part, value):
    kept = facts({**_run(tmp_path), part: value}, tmp_path)
    assert (part in kept) == (part == 'state_dict' and value in (None, 3, [1]))  # numbers, which nothing obeys


@pytest.mark.parametrize('place', ['state_dict', ''])
def test_names_that_are_no_strings(place):
    weights = {3: torch.zeros(1)}
    with pytest.raises(CheckpointError, match='3'):
        facts({place: weights} if place else weights)
