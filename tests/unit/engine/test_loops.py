"""A run that stopped inside an epoch and was resumed sees the very batches of an uninterrupted run and ends with the
same weights; skipped samples are not read. With mmengine's own loops the epoch starts over.
"""

import multiprocessing
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook

from mmswin.engine.stopping import save_state
from mmswin.engine.workers import _init_shielded_worker
from mmswin.errors import RunError

EPOCHS = {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 3}
ITERATIONS = {'type': 'mmswin.IterBasedTrainLoop', 'max_iters': 15}


class StopAfter(Hook):
    """Saves after an iteration and ends the run, as a signal does."""

    priority = 'LOWEST'

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.iteration:
            save_state(runner, Path(runner.work_dir) / 'stop.pth', runner.epoch, self.iteration)
            raise KeyboardInterrupt


def interrupted(toy_runner, tmp_path, stop, train_cfg, sampler, **options):
    """The batches of the run up to its stop, and the resumed runner."""
    first = toy_runner(tmp_path, train_cfg, sampler, hooks=[StopAfter(stop)], **options)
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = toy_runner(tmp_path, train_cfg, sampler, resume=True, load_from=str(tmp_path / 'stop.pth'), **options)
    second.train()
    return first.model.seen, second


@pytest.mark.parametrize('stop', [1, 5, 7, 10, 14])
@pytest.mark.parametrize(
    ('train_cfg', 'sampler'),
    [(EPOCHS, 'DefaultSampler'), (ITERATIONS, 'DefaultSampler'), (ITERATIONS, 'InfiniteSampler')],
)
def test_resumed_run_goes_on_where_it_stopped(toy_runner, tmp_path, stop, train_cfg, sampler):
    whole = toy_runner(tmp_path / 'whole', train_cfg, sampler)
    whole.train()
    before, resumed = interrupted(toy_runner, tmp_path / 'parts', stop, train_cfg, sampler)

    assert len(whole.model.seen) == 15
    assert before == whole.model.seen[:stop]
    assert resumed.model.seen == whole.model.seen[stop:]
    assert resumed.iter == whole.iter == 15
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_skipped_samples_are_not_read(toy_runner, tmp_path):
    _, resumed = interrupted(toy_runner, tmp_path, 3, ITERATIONS, 'InfiniteSampler')
    assert resumed.train_dataloader.dataset.read == 2 * (15 - 3)


@pytest.mark.parametrize('train_cfg', [EPOCHS, ITERATIONS])
def test_data_that_make_no_batch_are_refused(toy_runner, tmp_path, train_cfg):
    """mmengine counts epochs without a step, and saves them."""
    loader = {'batch_size': 16, 'drop_last': True}
    with pytest.raises(RunError, match='10 images make no batch of 16'):
        toy_runner(tmp_path / 'a', train_cfg, loader=loader).train()
    endless = toy_runner(tmp_path / 'b', {**ITERATIONS, 'max_iters': 1}, 'InfiniteSampler', loader=loader)
    endless.train()
    assert [len(batch) for batch in endless.model.seen] == [16]


def test_mmengines_loop_repeats_the_epoch(toy_runner, tmp_path):
    """Why the loops exist: should this fail, mmengine has learnt to resume inside an epoch."""
    _, resumed = interrupted(
        toy_runner, tmp_path, 7, {'type': 'EpochBasedTrainLoop', 'max_epochs': 3}, 'DefaultSampler'
    )
    assert resumed.iter > 15


@pytest.mark.parametrize(('epoch', 'iteration', 'known'), [(1, 40, {}), (0, 40, {}), (1, 4, {}), (1, 4, {'images': 1})])
def test_another_batch_size_is_said_and_counted_in(toy_runner, tmp_path, epoch, iteration, known):
    """The epoch starts over instead of failing or being skipped, and the time that is left is that of what is left."""
    runner = toy_runner(tmp_path, EPOCHS)
    loop = runner.build_train_loop(EPOCHS)
    runner._train_loop = loop
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.message_hub.update_info_dict({f'{name}_per_iteration': value for name, value in known.items()})
    said = []
    runner.logger.handlers[0].setLevel('WARNING')
    runner.logger.handlers[0].emit = lambda record: said.append(record.getMessage())
    loop._epoch, loop._iter = epoch, iteration
    loop.run()
    assert (loop.epoch, loop.iter) == (3, 15)
    assert 'another batch size' in said[0]
    assert not known or '1 images per iteration became 2' in said[0]


@pytest.mark.parametrize(
    ('train_cfg', 'sampler', 'persistent'),
    [
        (EPOCHS, 'DefaultSampler', False),
        (EPOCHS, 'DefaultSampler', True),
        # torch takes 5 s to end each worker of a loader that is left in the middle of a pass.
        pytest.param(ITERATIONS, 'InfiniteSampler', True, marks=pytest.mark.slow),
    ],
)
def test_the_same_with_loader_workers(toy_runner, tmp_path, train_cfg, sampler, persistent):
    """A loader with workers asks its sampler for two passes when it starts, and persistent workers keep the sampler."""
    whole = toy_runner(tmp_path / 'whole', train_cfg, sampler)
    whole.train()
    loader = {'num_workers': 2, 'persistent_workers': persistent}
    before, resumed = interrupted(toy_runner, tmp_path / 'parts', 7, train_cfg, sampler, loader=loader)
    assert before + resumed.model.seen == whole.model.seen


class CutOff(Hook):
    """Saves in a validation and ends the run; notes the iterations at which validations ended."""

    def __init__(self, iteration: int = 0) -> None:
        self.iteration = iteration
        self.validated: list[int] = []

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter == self.iteration:
            save_state(runner, Path(runner.work_dir) / 'stop.pth', runner.epoch, runner.iter)
            raise KeyboardInterrupt

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.validated.append(runner.iter)


class Nothing(BaseMetric):
    """A metric, as a validation must have one."""

    def process(self, data_batch, data_samples) -> None:
        self.results.append(0)

    def compute_metrics(self, results) -> dict[str, float]:
        return {'nothing': 0.0}


@pytest.mark.parametrize('train_cfg', [{**EPOCHS, 'val_interval': 1}, {**ITERATIONS, 'val_interval': 5}])
def test_validation_that_was_cut_off_comes_first_on_resuming(toy_runner, numbers, tmp_path, train_cfg):
    def train(hook: CutOff, **options) -> list[int]:
        runner = toy_runner(
            tmp_path,
            train_cfg,
            hooks=[hook],
            val_cfg={},
            val_evaluator=Evaluator(Nothing()),
            val_dataloader={
                'dataset': numbers,
                'batch_size': 5,
                'num_workers': 0,
                'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            },
            **options,
        )
        with pytest.raises(KeyboardInterrupt) if hook.iteration else nullcontext():
            runner.train()
        return hook.validated

    assert train(CutOff(10)) == [5]
    resumed = {'resume': True, 'load_from': str(tmp_path / 'stop.pth')}
    assert train(CutOff(), **resumed) == [10, 15]
    # Done validations are not repeated: the one of iteration 15 is, as the last to have ended was another one's.
    assert train(CutOff(15), **resumed) == [10]
    assert train(CutOff(), resume=True, load_from=str(tmp_path / 'stop.pth')) == [15]
    assert train(CutOff(), resume=True, load_from=str(tmp_path / 'stop.pth')) == []


def _worker(seeded: Any) -> None:
    _init_shielded_worker(seeded.put, 3)
    time.sleep(600)


def _orphan(pids: Any) -> None:
    context = multiprocessing.get_context('fork')
    seeded = context.Queue()
    worker = context.Process(target=_worker, args=(seeded,))
    worker.start()
    seeded.get(timeout=60)
    pids.put(worker.pid)
    time.sleep(600)


def test_worker_ends_when_its_parent_was_killed():
    """After kill -9 torch's workers may wait for ever to hand over a batch, and keep their memory."""
    context = multiprocessing.get_context('fork')
    pids = context.Queue()
    parent = context.Process(target=_orphan, args=(pids,))
    parent.start()
    worker = pids.get(timeout=60)
    parent.kill()
    parent.join()
    for _ in range(600):
        state = Path(f'/proc/{worker}/stat')
        if not state.exists() or ') Z ' in state.read_text():
            return
        time.sleep(0.1)
    pytest.fail('the worker outlived its parent by a minute')


def test_worker_ends_by_its_parents_sigterm_only():
    """A signal to the whole group must not kill the workers, or the run dies before it saves; but the training process
    ends persistent workers by the same signal when it exits, and would wait for ever.
    """
    context = multiprocessing.get_context('fork')
    seeded = context.Queue()
    worker = context.Process(target=_worker, args=(seeded,), daemon=True)
    worker.start()
    assert seeded.get(timeout=60) == 3
    stranger = os.fork()
    if stranger == 0:
        os.kill(worker.pid, signal.SIGTERM)
        os._exit(0)
    os.waitpid(stranger, 0)
    worker.join(timeout=1)
    assert worker.is_alive()
    worker.terminate()
    worker.join(timeout=60)
    assert worker.exitcode == 0
