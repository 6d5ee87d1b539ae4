"""A training checkpoint of mmengine is read without unsafe loading, and nothing beyond its types is let in."""

import os
import random
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from mmswin.checkpoints import CheckpointError, load_file


def test_message_hub_with_logs_and_scores(tmp_path):
    hub = MessageHub.get_instance(str(tmp_path))
    hub.update_scalar('train/loss', 0.5)
    hub.update_scalar('train/loss', 0.25)
    hub.update_info('best_score', np.float64(0.5))
    hub.update_info('array', np.arange(6).reshape(2, 3))
    torch.save(dict(message_hub=hub.state_dict(), state_dict={}), tmp_path / 'iter_2.pth')
    for loaded in (load_file(tmp_path / 'iter_2.pth'),):
        buffer = loaded['message_hub']['log_scalars']['train/loss']
        assert isinstance(buffer, HistoryBuffer)
        assert buffer.data[0].tolist() == [0.5, 0.25]
        assert buffer.statistics('mean') == 0.375
        assert loaded['message_hub']['runtime_info']['array'].tolist() == [[0, 1, 2], [3, 4, 5]]


class Reaching:
    """Pickles to getattr(owner, name)."""

    def __init__(self, owner, name):
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    ('owner', 'name'), [(HistoryBuffer, '__init__'), (HistoryBuffer, 'register_statistics'), (np.ndarray, 'tofile')]
)
def test_getattr_reaches_nothing_but_the_statistics(tmp_path, owner, name):
    torch.save({'state_dict': Reaching(owner, name)}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError):
        load_file(tmp_path / 'file.pth')


def test_a_whole_model_and_its_optimizer(tmp_path):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    saved = dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict(), meta=dict(seed=1, names=('a', 'b')))
    for name, old_format in (('new.pth', False), ('old.pth', True)):
        torch.save(saved, tmp_path / name, _use_new_zipfile_serialization=not old_format)
        loaded = load_file(tmp_path / name)
        assert loaded['meta'] == saved['meta']
        for key, value in model.state_dict().items():
            assert torch.equal(loaded['state_dict'][key], value)
        assert torch.equal(loaded['optimizer']['state'][0]['exp_avg'], saved['optimizer']['state'][0]['exp_avg'])


def test_numbers_of_every_kind(tmp_path):
    saved = {
        'python': random.getstate(),
        'numpy': np.random.default_rng(0).bit_generator.state,
        'torch': torch.get_rng_state(),
        'empty': np.zeros((0, 3)),
        'single': np.array(3.0),
        'columns': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        'numbers': [np.float32(1), np.int64(3), np.bool_(True), 2**70, -5, 1j, b''],
        'half': np.arange(3, dtype=np.float16),
        'milestones': Counter([1, 1, 3]),
    }
    torch.save(saved, tmp_path / 'file.pth')
    loaded = load_file(tmp_path / 'file.pth')
    assert list(loaded) == list(saved)
    for key in ('python', 'numpy', 'numbers', 'milestones'):
        assert loaded[key] == saved[key]
    for key in ('empty', 'columns', 'single', 'half'):
        assert type(loaded[key]) is np.ndarray
        assert loaded[key].dtype == saved[key].dtype
        np.testing.assert_array_equal(loaded[key], saved[key])
    assert torch.equal(loaded['torch'], saved['torch'])


class Dangerous:
    """Pickles to a call of a function that no checkpoint needs."""

    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    'payload',
    [
        Dangerous(os.system, 'exit 1'),
        Dangerous(eval, '1'),
        Dangerous(setattr, HistoryBuffer, 'x', 1),
        Dangerous(torch.load, 'x'),
        Dangerous(__import__, 'os'),
    ],
)
def test_calls_are_refused_by_name(tmp_path, payload):
    torch.save({'state_dict': payload}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='which is not among the safe ones, and was not opened'):
        load_file(tmp_path / 'file.pth')
