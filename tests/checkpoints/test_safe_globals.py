"""A training checkpoint of mmengine is read without unsafe loading, and nothing beyond its types is let in."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

import mmswin.registry  # noqa: F401  allows the safe types
from mmswin.checkpoints import CheckpointError, load_file


def test_message_hub_with_logs_and_scores(tmp_path):
    hub = MessageHub.get_instance('safe-globals-test')
    hub.update_scalar('train/loss', 0.5)
    hub.update_scalar('train/loss', 0.25)
    hub.update_info('best_score', np.float64(0.5))
    hub.update_info('array', np.arange(6).reshape(2, 3))
    torch.save(dict(message_hub=hub.state_dict(), state_dict={}), tmp_path / 'iter_2.pth')
    for loaded in (torch.load(tmp_path / 'iter_2.pth', weights_only=True), load_file(tmp_path / 'iter_2.pth')):
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
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'file.pth', weights_only=True)
    with pytest.raises(CheckpointError):
        load_file(tmp_path / 'file.pth')
