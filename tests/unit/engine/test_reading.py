"""What mmengine loads while a run lasts runs no code either, on any torch and either stack; trust is one file's."""

import logging
import os

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, load_checkpoint
from torch import nn

from mmswin.checkpoints import CheckpointError
from mmswin.engine import reading
from mmswin.errors import RunError, UnsafeCheckpointError


class Touching:
    """Pickles to a call that makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


class Linear(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layer = nn.Linear(1, 1)


@pytest.fixture
def hostile(tmp_path):
    """A checkpoint that would make the directory 'ran', with all that a run is resumed from."""
    weights = {'layer.weight': torch.full((1, 1), 7.0), 'layer.bias': torch.zeros(1)}
    torch.save(
        {
            'state_dict': weights,
            'optimizer': {},
            'message_hub': {},
            'meta': {'iter': 1, 'epoch': 0},
            'extra': Touching(tmp_path / 'ran'),
        },
        tmp_path / 'file.pth',
    )
    return tmp_path / 'file.pth'


def test_mmengine_reads_through_us_while_it_lasts(tmp_path, hostile):
    earlier = CheckpointLoader._get_checkpoint_loader(str(hostile))
    with reading.safely():
        for source in (str(hostile), 'file://' + str(hostile)):
            with pytest.raises(UnsafeCheckpointError, match=r'needs the type \w+\.mkdir.* Or add --trust-checkpoint'):
                load_checkpoint(Linear(), source)
    assert CheckpointLoader._get_checkpoint_loader(str(hostile)) is earlier
    assert not (tmp_path / 'ran').exists()


def test_init_cfg_of_any_class_is_read_through_us(tmp_path, hostile):
    model = Linear(dict(type='Pretrained', checkpoint=str(hostile)))
    with reading.safely(), pytest.raises(UnsafeCheckpointError):
        model.init_weights()
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('how', ['resume', 'load'])
def test_a_runner_reads_through_us(tmp_path, hostile, toy_runner, how):
    runner = toy_runner(
        tmp_path / 'work',
        dict(type='EpochBasedTrainLoop', max_epochs=1),
        load_from=str(hostile),
        resume=how == 'resume',
    )
    with reading.safely(), pytest.raises(UnsafeCheckpointError):
        runner.train()
    assert not (tmp_path / 'ran').exists()


def test_weights_reach_the_model(tmp_path):
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / 'bare.pth')
    model = Linear()
    torch.save(
        {'state_dict': {'layer.weight': torch.full((1, 1), 3.0), 'layer.bias': torch.zeros(1)}}, tmp_path / 'good.pth'
    )
    with reading.safely():
        load_checkpoint(model, str(tmp_path / 'good.pth'))
        assert not hasattr(reading.read(tmp_path / 'bare.pth'), '_metadata')
    assert model.layer.weight.item() == 3


def test_trust_is_for_one_file_and_is_logged(tmp_path, hostile, monkeypatch):
    said = []
    monkeypatch.setattr(reading, 'print_log', lambda text, level, **_: said.append((level, text)))
    other = tmp_path / 'sub' / 'other.pth'
    other.parent.mkdir()
    other.write_bytes(hostile.read_bytes())
    with reading.safely():
        reading.trust(hostile)
        with pytest.raises(UnsafeCheckpointError):
            reading.read(str(other))
        assert not (tmp_path / 'ran').exists()
        assert reading.read(str(hostile))['state_dict']['layer.weight'].item() == 7
    assert (tmp_path / 'ran').exists()
    ((level, text),) = said
    assert level == logging.WARNING
    assert text.startswith(f'{hostile}: --trust-checkpoint was given')
    assert '.mkdir' in text
    with pytest.raises(UnsafeCheckpointError):  # trust ends with the run
        reading.read(str(hostile))


def test_trust_of_a_work_dir_is_for_the_files_in_it(tmp_path, hostile):
    with reading.safely():
        reading.trust(tmp_path)
        reading.read(str(hostile))
    assert (tmp_path / 'ran').exists()


def test_trust_without_a_checkpoint_is_an_error():
    with reading.safely(), pytest.raises(RunError, match='--trust-checkpoint is for the checkpoint of --resume or'):
        reading.trust(None)


def test_trust_does_not_cover_damage(tmp_path):
    (tmp_path / 'file.pth').write_bytes(b'PK\x03\x04')
    with reading.safely():
        reading.trust(tmp_path / 'file.pth')
        with pytest.raises(CheckpointError, match='damaged or truncated'):
            reading.read(tmp_path / 'file.pth')
