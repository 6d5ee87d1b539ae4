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
from mmswin.errors import BadImageError, LostProcessError


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


class Failing(Dataset):
    """Numbers of which one cannot be loaded."""

    metainfo = {'classes': ('a',)}

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict:
        import torch

        if index == 7:
            raise self.error
        return {'inputs': torch.tensor([float(index)])}


@pytest.mark.parametrize('workers', [0, 1])
def test_what_the_data_set_raises_is_told_in_its_own_words(toy_runner, tmp_path, workers):
    def train(error: Exception, folder: str) -> None:
        sampler = {'type': 'DefaultSampler', 'shuffle': False}
        loader = {'dataset': Failing(error), 'num_workers': workers, 'sampler': sampler}
        toy_runner(tmp_path / folder, {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 1}, loader=loader).train()

    with pytest.raises(FileNotFoundError, match=r"'a\.jpg' is gone"):
        train(FileNotFoundError("'a.jpg' is gone"), 'missing')
    # A data set that is too bad ends hours of work: they are saved, and one line says where the fault is.
    with pytest.raises(BadImageError, match=r"^after iteration 3 'a\.jpg' is gone; saved .*iter_3\.pth.*--resume$"):
        train(BadImageError("'a.jpg' is gone"), 'bad')
    assert load_file(tmp_path / 'bad' / 'iter_3.pth')['meta']['iter'] == 3
