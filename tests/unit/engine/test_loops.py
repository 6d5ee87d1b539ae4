"""A run that stopped inside an epoch and was resumed sees the very batches of an uninterrupted run and ends with the
same weights; skipped samples are not read. With mmengine's own loops the epoch starts over.
"""

import itertools
import multiprocessing
import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import EMAHook, Hook
from torch.utils.data import BatchSampler

from mmswin.checkpoints import load_file
from mmswin.engine import StopOnSignalHook
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


@pytest.mark.parametrize('train_cfg', [EPOCHS, ITERATIONS])
def test_a_complete_run_that_is_resumed_says_so(toy_runner, tmp_path, monkeypatch, train_cfg):
    said = []
    monkeypatch.setattr('mmswin.engine.loops.print_log', lambda text, **_: said.append(text))
    whole = toy_runner(tmp_path, train_cfg)
    whole.train()
    assert not said
    save_state(whole, tmp_path / 'end.pth', whole.epoch, whole.iter)
    again = toy_runner(tmp_path, train_cfg, resume=True, load_from=str(tmp_path / 'end.pth'))
    again.train()
    assert not again.model.seen and len(said) == 1 and 'complete (15 ' in said[0]


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


def test_another_batch_size_with_accumulated_gradients(toy_runner, tmp_path):
    """The wrapper's counter goes by the iterations that are left: it had too many, and ended the run by an assertion."""
    runner = toy_runner(tmp_path, EPOCHS)
    runner.optim_wrapper['accumulative_counts'] = 2
    runner._train_loop = loop = runner.build_train_loop(EPOCHS)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    loop._epoch, loop._iter = 1, 10
    runner.optim_wrapper.initialize_count_status(runner.model, loop._iter, loop.max_iters)
    loop.run()
    assert loop.iter == runner.optim_wrapper._inner_count == 15


class OneBatchLess(BatchSampler):
    """Promises one batch more than it gives, as mmdet's AspectRatioBatchSampler does with ``drop_last``."""

    def __iter__(self):
        yield from list(super().__iter__())[:-1]


@pytest.mark.parametrize('stop', [2, 4, 6, 8, 11])
def test_epochs_of_fewer_batches_than_are_promised(toy_runner, tmp_path, stop):
    def loader(seed: int = 0) -> dict:
        return {'batch_sampler': {'type': OneBatchLess, 'drop_last': False}}

    whole = toy_runner(tmp_path / 'whole', EPOCHS, loader=loader())
    whole.train()
    assert len(whole.model.seen) == whole.iter == 12
    before, resumed = interrupted(toy_runner, tmp_path / 'parts', stop, EPOCHS, 'DefaultSampler', loader=loader())
    assert before + resumed.model.seen == whole.model.seen
    assert resumed.iter == 12


def test_a_sampler_of_several_sources_goes_on(toy_runner, tmp_path):
    class MultiSourceSampler(DefaultSampler):
        """Without end, as mmdet's."""

        def __iter__(self):
            for start in itertools.count():
                yield from (int(i) for i in (torch.arange(10) + start) % 10)

    whole = toy_runner(tmp_path / 'whole', ITERATIONS, MultiSourceSampler)
    whole.train()
    before, resumed = interrupted(toy_runner, tmp_path / 'parts', 7, ITERATIONS, MultiSourceSampler)
    assert before + resumed.model.seen == whole.model.seen
    assert whole.model.seen[5] != whole.model.seen[0]


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


def test_one_that_was_due_by_a_later_interval_does_too(toy_runner, numbers, tmp_path):
    loop = {**EPOCHS, 'val_interval': 5, 'dynamic_intervals': [(3, 1)]}
    data = {'dataset': numbers, 'batch_size': 5, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
    validation = {'val_cfg': {}, 'val_dataloader': data}
    for hook, options, done in ((CutOff(10), {}, []), (CutOff(), {'resume': True}, [10, 15])):
        options = {**options, 'load_from': str(tmp_path / 'stop.pth')} if options else {}
        evaluator = Evaluator(Nothing())
        runner = toy_runner(tmp_path, loop, hooks=[hook], val_evaluator=evaluator, **validation, **options)
        with pytest.raises(KeyboardInterrupt) if hook.iteration else nullcontext():
            runner.train()
        assert hook.validated == done


class Terminate(Hook):
    """The signal of a shell, in the first validation."""

    def after_val_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        signal.raise_signal(signal.SIGTERM)


class OfTheWeights(EMAHook):
    """As mmpretrain's with ``evaluate_on_ema=False``: nothing is exchanged."""

    evaluate_on_ema = False

    def before_val_epoch(self, runner) -> None:
        pass

    after_val_epoch = before_val_epoch


@pytest.mark.parametrize('hook', [EMAHook, OfTheWeights])
def test_an_average_of_weights_is_no_other_when_it_is_saved_in_a_validation(toy_runner, numbers, tmp_path, hook):
    """EMAHook exchanges the weights and their average for a validation, and counts on it when it saves."""
    data = {'dataset': numbers, 'batch_size': 5, 'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
    runner = toy_runner(
        tmp_path,
        EPOCHS,
        hooks=[hook(momentum=0.5), Terminate(), StopOnSignalHook()],
        val_cfg={},
        val_dataloader=data,
        val_evaluator=Evaluator(Nothing()),
        default_hooks={'logger': None, 'checkpoint': {'type': 'CheckpointHook', 'interval': 1}},
    )
    with pytest.raises(SystemExit):
        runner.train()
    before, stopped = (load_file(tmp_path / name) for name in ('epoch_1.pth', 'iter_5.pth'))
    for part, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        for name in ('layer.weight', 'layer.bias'):
            assert torch.equal(before[part][prefix + name], stopped[part][prefix + name])
    assert not torch.equal(stopped['state_dict']['layer.bias'], stopped['ema_state_dict']['module.layer.bias'])


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
