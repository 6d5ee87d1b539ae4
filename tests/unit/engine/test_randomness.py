"""The random draws of training depend on the seed and on where the run is, and on nothing that happened before.

So a resumed run has the losses of an uninterrupted one to the bit, with drop-out in the model and augmentations in this
process or in loader workers, in the middle of a pass too; and neither workers nor validations change them.
"""

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from mmswin.checkpoints import load_file
from mmswin.engine import randomness
from mmswin.engine.randomness import SAMPLE, SeededBatch, SeededBatchSampler, seed_generators
from mmswin.engine.stopping import save_state

EPOCHS = {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 3, 'val_interval': 1}
ITERATIONS = {'type': 'mmswin.IterBasedTrainLoop', 'max_iters': 15, 'val_interval': 5}


def draws() -> list[float]:
    """What the three generators give next."""
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]


class Augmented(Dataset):
    """Ten samples; a sample is its index and a draw of each generator. How many it draws besides, varies."""

    metainfo = {'classes': ('a',)}

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        sample = [float(index), *draws()]
        np.random.rand(random.randrange(7))
        return {'inputs': torch.tensor(sample)}


class Dropping(BaseModel):
    """A layer behind drop-out; remembers the loss of every iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.losses: list[float] = []

    def forward(self, inputs, mode='loss'):
        values = torch.stack(list(inputs))
        if mode != 'loss':
            torch.rand(3)  # a validation that draws must not change what training draws
            return [{'value': 0.0}] * len(values)
        loss = (self.layer(torch.dropout(values, 0.5, True)) - 1).square().mean() * (1 + draws()[1])
        self.losses.append(float(loss.detach()))
        return {'loss': loss}


class Nothing(BaseMetric):
    """A metric, as a validation must have one."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results) -> dict[str, float]:
        return {'nothing': 0.0}


class StopAfter(Hook):
    """Saves after an iteration and ends the run, as a signal does."""

    priority = 'LOWEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            save_state(runner, Path(runner.work_dir) / 'stop.pth', runner.epoch, self.iteration)
            raise KeyboardInterrupt


@pytest.fixture
def train(toy_runner, tmp_path):
    """Trains and returns the losses; may stop after an iteration and go on with another Runner."""

    def run(
        train_cfg: dict, sampler: str, stop: int = 0, validate: bool = True, randomness: dict | None = None, **loader
    ) -> list[float]:
        def build(name: str, **options):
            model = Dropping()
            nn.init.ones_(model.layer.weight)
            nn.init.zeros_(model.layer.bias)
            validation = (
                {
                    'val_dataloader': {
                        'dataset': Augmented(),
                        'batch_size': 5,
                        'num_workers': 0,
                        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
                    },
                    'val_cfg': {},
                    'val_evaluator': Evaluator(Nothing()),
                }
                if validate
                else {}
            )
            return toy_runner(
                tmp_path / name,
                train_cfg,
                sampler,
                model=model,
                loader={'dataset': Augmented(), **loader},
                randomness=randomness or {'seed': 0},
                **validation,
                **options,
            )

        if not stop:
            runner = build('whole')
            runner.train()
            return runner.model.losses
        first = build('parts', hooks=[StopAfter(stop)])
        with pytest.raises(KeyboardInterrupt):
            first.train()
        draws()  # another process has other random states
        second = build('parts', resume=True, load_from=str(tmp_path / 'parts' / 'stop.pth'))
        second.train()
        assert len(first.model.losses) == stop
        return first.model.losses + second.model.losses

    return run


@pytest.mark.parametrize('stop', [2, 5, 7])
@pytest.mark.parametrize(
    ('train_cfg', 'sampler'),
    [(EPOCHS, 'DefaultSampler'), (ITERATIONS, 'DefaultSampler'), (ITERATIONS, 'InfiniteSampler')],
)
def test_resumed_losses_are_equal_to_the_bit(train, train_cfg, sampler, stop):
    whole = train(train_cfg, sampler)
    assert len(set(whole)) == 15
    assert train(train_cfg, sampler, stop) == whole


@pytest.mark.parametrize(
    ('train_cfg', 'sampler', 'loader'),
    [
        (EPOCHS, 'DefaultSampler', {'num_workers': 2}),
        (EPOCHS, 'DefaultSampler', {'num_workers': 3, 'persistent_workers': True, 'prefetch_factor': 3}),
        # torch takes 5 s to end each worker of a loader that is left in the middle of a pass.
        pytest.param(
            ITERATIONS, 'InfiniteSampler', {'num_workers': 2, 'persistent_workers': True}, marks=pytest.mark.slow
        ),
    ],
)
def test_loader_workers_and_validations_change_nothing(train, train_cfg, sampler, loader):
    assert train(train_cfg, sampler, stop=7, **loader) == train(train_cfg, sampler, validate=False)


def test_another_seed_gives_another_run(train):
    runs = [train(EPOCHS, 'DefaultSampler', randomness={'seed': seed}) for seed in (0, 1)]
    assert not set(runs[0]) & set(runs[1])


def test_generators_are_set_by_the_place_alone_and_independently():
    seed_generators(3, SAMPLE, 1, 2)
    first = draws()
    draws()
    seed_generators(3, SAMPLE, 1, 2)
    assert draws() == first
    assert len({round(value, 6) for value in first}) == 3
    others = set()
    for place in ((4, SAMPLE, 1, 2), (3, SAMPLE + 1, 1, 2), (3, SAMPLE, 2, 1), (3, SAMPLE, 1, 3)):
        seed_generators(*place)
        others.add(tuple(draws()))
    assert len(others) == 4
    assert tuple(first) not in others


def test_first_draws_of_successive_places_are_uniform_and_uncorrelated():
    """4000 places: the mean within 5 standard errors, the correlations of neighbours and generators too."""
    table = []
    for place in range(4000):
        seed_generators(0, SAMPLE, 0, place)
        table.append(draws())
    values = np.array(table) - 0.5
    assert np.abs(values.mean(axis=0)).max() < 5 / np.sqrt(12 * len(values))
    assert np.abs(values.var(axis=0) * 12 - 1).max() < 0.1
    neighbours = (values[1:] * values[:-1]).mean(axis=0) * 12
    between = np.corrcoef(values.T)[np.triu_indices(3, 1)]
    assert np.abs([*neighbours, *between]).max() < 5 / np.sqrt(len(values))


def test_handing_a_batch_to_a_worker_draws_nothing():
    batch = SeededBatch([7, 8], seed=0, epoch=0, places=range(2))
    seed_generators(5, SAMPLE, 0, 0)
    expected = draws()
    seed_generators(5, SAMPLE, 0, 0)
    copy = pickle.loads(pickle.dumps(batch))
    assert draws() == expected
    assert (list(copy), len(copy), copy[1]) == ([7, 8], 2, 8)


@pytest.mark.parametrize('begin', [0, 2])
def test_two_processes_augment_an_image_as_one_does(monkeypatch, begin):
    """Process r of two gets every second image; its draws are those that one process makes for these images."""

    def seen(rank: int, processes: int, indices: list[int], size: int) -> dict[int, list[float]]:
        monkeypatch.setattr(randomness, 'get_dist_info', lambda: (rank, processes))
        batches = [indices[i : i + size] for i in range(0, len(indices), size)]
        sampler = SeededBatchSampler(batches, lambda: 11)
        with sampler.beginning_at(begin):
            return {index: draws() for batch in iter(sampler) for index in batch}

    one = seen(0, 1, list(range(12)), size=2)
    two = {**seen(0, 2, list(range(0, 12, 2)), size=1), **seen(1, 2, list(range(1, 12, 2)), size=1)}
    assert one == two
    assert len(one) == 12 - 2 * begin


def test_checkpoint_holds_the_random_state_as_plain_numbers(toy_runner, tmp_path):
    from mmswin.engine.saving import Runner

    runner = toy_runner(tmp_path, EPOCHS, runner_class=Runner, hooks=[StopAfter(7)])
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    saved = load_file(tmp_path / 'stop.pth')
    assert saved['meta']['random_state'] == {'scheme': randomness.SCHEME, 'seed': 0, 'iteration': 7}
