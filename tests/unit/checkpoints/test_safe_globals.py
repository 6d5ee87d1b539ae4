"""A training checkpoint of mmengine is read without unsafe loading, and nothing beyond its types is let in."""

import itertools
import os
import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

import mmswin.registry  # noqa: F401  allows the safe types
from mmswin.checkpoints import CheckpointError, load_file, safe_globals


@pytest.fixture(params=[True, False], ids=['torch lists names', 'older torch'])
def loader(request, monkeypatch):
    """load_file as on torch >= 2.6, and as on older ones."""
    monkeypatch.setattr(safe_globals, 'LISTS_NAMES', request.param)
    return load_file


def test_message_hub_with_logs_and_scores(tmp_path, loader):
    hub = MessageHub.get_instance(str(tmp_path))
    hub.update_scalar('train/loss', 0.5)
    hub.update_scalar('train/loss', 0.25)
    hub.update_info('best_score', np.float64(0.5))
    hub.update_info('array', np.arange(6).reshape(2, 3))
    torch.save(dict(message_hub=hub.state_dict(), state_dict={}), tmp_path / 'iter_2.pth')
    for loaded in (torch.load(tmp_path / 'iter_2.pth', weights_only=True), loader(tmp_path / 'iter_2.pth')):
        buffer = loaded['message_hub']['log_scalars']['train/loss']
        assert isinstance(buffer, HistoryBuffer)
        assert buffer.data[0].tolist() == [0.5, 0.25]
        assert buffer.statistics('mean') == 0.375
        assert loaded['message_hub']['runtime_info']['array'].tolist() == [[0, 1, 2], [3, 4, 5]]


NUMPYS_OWN = {
    'builtins.getattr': getattr, 'numpy.ndarray': np.ndarray, 'numpy.dtype': np.dtype,
    **{f'numpy.{core}.multiarray.{name}': getattr(safe_globals.multiarray, name)
       for core in ('core', '_core') for name in ('_reconstruct', 'scalar')},
}  # fmt: skip


def mixtures():
    """Every choice between our meaning of a name and the real one."""
    ours = {name: value for value, name in safe_globals.SAFE_GLOBALS[1:]}
    ours['mmengine.logging.history_buffer.HistoryBuffer'] = HistoryBuffer
    kinds = {'array': ('numpy.ndarray',), 'dtype': ('numpy.dtype',), 'getattr': ('builtins.getattr',),
             '_reconstruct': [n for n in ours if n.endswith('_reconstruct')],
             'scalar': [n for n in ours if n.endswith('.scalar')]}  # fmt: skip
    for count in range(len(kinds) + 1):
        for chosen in itertools.combinations(kinds, count):
            yield {**ours, **{name: NUMPYS_OWN[name] for kind in chosen for name in kinds[kind]}}


@pytest.mark.parametrize('names', mixtures())
def test_numpys_own_types_may_stand_on_torchs_list_beside_ours(tmp_path, monkeypatch, names):
    """Which of two entries for a name torch takes depends on their addresses."""
    monkeypatch.setattr('torch._weights_only_unpickler._get_user_allowed_globals', lambda: names)
    buffer = HistoryBuffer([0.5, 0.25], [1, 1])
    saved = {'array': np.arange(6.0).reshape(2, 3), 'number': np.float64(0.5), 'buffer': buffer}
    torch.save(saved, tmp_path / 'file.pth')
    for read in (lambda path: torch.load(path, weights_only=True), load_file):
        loaded = read(tmp_path / 'file.pth')
        np.testing.assert_array_equal(loaded['array'], saved['array'])
        assert loaded['number'] == 0.5
        assert loaded['buffer'].statistics('mean') == 0.375
        torch.save(loaded, tmp_path / 'again.pth')
        monkeypatch.undo()
        assert type(load_file(tmp_path / 'again.pth')['array']) is np.ndarray
        monkeypatch.setattr('torch._weights_only_unpickler._get_user_allowed_globals', lambda: names)


class Reaching:
    """Pickles to getattr(owner, name)."""

    def __init__(self, owner, name):
        self.arguments = owner, name

    def __reduce__(self):
        return getattr, self.arguments


@pytest.mark.parametrize(
    ('owner', 'name'), [(HistoryBuffer, '__init__'), (HistoryBuffer, 'register_statistics'), (np.ndarray, 'tofile')]
)
def test_getattr_reaches_nothing_but_the_statistics(tmp_path, owner, name, loader):
    torch.save({'state_dict': Reaching(owner, name)}, tmp_path / 'file.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'file.pth', weights_only=True)
    with pytest.raises(CheckpointError):
        loader(tmp_path / 'file.pth')


def test_a_whole_model_and_its_optimizer(tmp_path, loader):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 4, 4)).square().sum().backward()
    optimizer.step()
    saved = dict(state_dict=model.state_dict(), optimizer=optimizer.state_dict(), meta=dict(seed=1, names=('a', 'b')))
    for name, old_format in (('new.pth', False), ('old.pth', True)):
        torch.save(saved, tmp_path / name, _use_new_zipfile_serialization=not old_format)
        loaded = loader(tmp_path / name)
        assert loaded['meta'] == saved['meta']
        for key, value in model.state_dict().items():
            assert torch.equal(loaded['state_dict'][key], value)
        assert torch.equal(loaded['optimizer']['state'][0]['exp_avg'], saved['optimizer']['state'][0]['exp_avg'])


def test_numbers_of_every_kind(tmp_path, loader):
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
    loaded = loader(tmp_path / 'file.pth')
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
def test_calls_are_refused_by_name(tmp_path, loader, payload):
    torch.save({'state_dict': payload}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='which is not among the safe ones, and was not opened'):
        loader(tmp_path / 'file.pth')
