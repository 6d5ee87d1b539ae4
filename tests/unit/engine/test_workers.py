"""A loader worker that is lost is named when its batch is asked for, and the run is saved first."""

import multiprocessing
import os
import signal
import time
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from mmswin.checkpoints import load_file
from mmswin.engine.workers import explained_loss_of_worker
from mmswin.errors import LostProcessError


class Killing(Dataset):
    """Numbers whose worker dies at one of them."""

    metainfo = {'classes': ('a',)}

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict:
        import torch

        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return {'inputs': torch.tensor([float(index)])}


class Iterations(Hook):
    """Counts what has been trained."""

    done = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.done = runner.iter + 1


def test_the_run_is_saved_and_the_worker_named(toy_runner, tmp_path):
    counted = Iterations()
    loader = {'dataset': Killing(), 'num_workers': 1, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
    runner = toy_runner(
        tmp_path, {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 1}, hooks=[counted], loader=loader
    )
    with pytest.raises(LostProcessError, match=r'worker \(process \d+\) was killed by SIGKILL.*--resume'):
        runner.train()
    path = tmp_path / f'iter_{counted.done}.pth'
    assert load_file(path)['meta']['iter'] == counted.done
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)


def _die_later() -> None:
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_connection_that_breaks_before_its_worker_has_ended():
    worker = multiprocessing.get_context('fork').Process(target=_die_later)
    worker.start()
    loading = SimpleNamespace(_workers=[worker])
    lost = pytest.raises(LostProcessError, match=f'process {worker.pid}.*SIGKILL')
    with lost, explained_loss_of_worker(loading):
        raise ConnectionResetError(104, 'Connection reset by peer')


def test_another_error_of_the_system_stays_as_it_is():
    with pytest.raises(ConnectionResetError), explained_loss_of_worker(SimpleNamespace(_workers=[])):
        raise ConnectionResetError(104, 'Connection reset by peer')
