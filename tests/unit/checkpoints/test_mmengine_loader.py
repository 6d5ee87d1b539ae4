"""mmengine's own ways of loading, once mmswin is imported: nothing runs, nothing of a configuration arrives."""

import os

import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

import mmswin.registry  # noqa: F401  registers the loader
from mmswin.checkpoints import CheckpointError


class Running:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_any_load_of_mmengine_is_ours(tmp_path):
    file = tmp_path / 'file.pth'
    weights = nn.Linear(1, 1).state_dict()
    best = str(tmp_path / 'best_a.pth')
    torch.save(
        {
            'state_dict': weights,
            'meta': {'config': 'x', 'iter': 1},
            'message_hub': {'runtime_info': {'best_ckpt': best}},
        },
        file,
    )
    loaded = CheckpointLoader.load_checkpoint(str(file))
    assert loaded['meta'] == {'iter': 1}
    assert loaded['message_hub']['runtime_info'] == {}
    (tmp_path / 'last_checkpoint').write_text(str(file))
    assert CheckpointLoader.load_checkpoint(str(file))['message_hub']['runtime_info'] == {'best_ckpt': best}
    model = nn.Linear(1, 1)
    load_checkpoint(model, 'file://' + str(file))
    assert torch.equal(model.weight, weights['weight'])


def test_nothing_runs(tmp_path):
    torch.save({'state_dict': {'a': torch.zeros(1)}, 'meta': Running(tmp_path / 'ran')}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match='mkdir'):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'file.pth'))
    assert not (tmp_path / 'ran').exists()


def test_names_of_weights_that_are_no_strings(tmp_path):
    torch.save({3: torch.zeros(1)}, tmp_path / 'file.pth')
    with pytest.raises(CheckpointError, match=r'file\.pth'):
        load_checkpoint(nn.Linear(1, 1), str(tmp_path / 'file.pth'))
