"""Two processes that share the optimizer's state, or the parameters too, train as two that share nothing; what they
save is a plain checkpoint, and any of them goes on with it.
"""

import errno
import os
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import distributed as dist
from torch import nn

from mmswin import atomic
from mmswin.backbones import SwinTransformer
from mmswin.checkpoints import load_file
from mmswin.engine import StopOnSignalHook, TrainingStopped
from mmswin.engine.saving import Runner
from mmswin.engine.sharding import is_sharded, local_numel
from mmswin.errors import RunError, SavingError

pytestmark = pytest.mark.slow

KINDS = ('ddp', 'zero', 'fsdp')
# The gradient of a key's bias is rounding alone; a small eps would make steps of it.
ADAMW = {'lr': 0.01, 'weight_decay': 0.05, 'eps': 1e-4}
OPTIMIZERS = {
    'ddp': {'type': 'AdamW', **ADAMW},
    'fsdp': {'type': 'AdamW', **ADAMW},
    'zero': {'type': 'ZeroRedundancyOptimizer', 'optimizer_type': 'AdamW', **ADAMW},
}
RESUMED = [('ddp', 'fsdp'), ('zero', 'zero'), ('fsdp', 'fsdp'), ('fsdp', 'zero')]  # from the checkpoint of which
LIMIT = 300  # seconds after which a process that waits for another is ended


class Tiny(BaseModel):
    """A Swin of two stages and one more layer, on images made of the samples of ``Numbers``."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = SwinTransformer(
            embed_dims=16,
            depths=(2, 2),
            num_heads=(1, 2),
            strides=(4, 2),
            window_size=4,
            out_indices=(0, 1),
            drop_path_rate=0.2,
        )
        self.head = nn.Linear(32, 3)

    def forward(self, inputs: Any, mode: str = 'loss') -> dict[str, torch.Tensor]:
        numbers = torch.stack(list(inputs))
        images = torch.sin(torch.arange(3 * 32 * 32.0) * (numbers + 1) / 7).view(-1, 3, 32, 32)
        low, high = self.backbone(images)
        return {'loss': self.head(high.mean((2, 3))).square().mean() + (low.mean((2, 3)) - 1).square().mean()}


class Note(Hook):
    """Keeps the losses; may get a signal after an iteration."""

    def __init__(self, signal_after: int = 0) -> None:
        self.losses: list[float] = []
        self.signal_after = signal_after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.losses.append(float(outputs['loss']))
        if runner.iter + 1 == self.signal_after:
            signal.raise_signal(signal.SIGTERM)


def in_two_processes(directory: Path, work: Callable[[], Any]) -> list[Any]:
    """What ``work`` returns in each of two processes that talk through gloo."""
    children = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            signal.alarm(LIMIT)
            os.environ['LOCAL_RANK'] = str(rank)
            try:
                dist.init_process_group('gloo', init_method=f'file://{directory}/meeting', rank=rank, world_size=2)
                torch.save(work(), directory / f'result_{rank}.pt')
                dist.barrier()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    (directory / 'meeting').unlink()
    return [torch.load(directory / f'result_{rank}.pt', weights_only=False) for rank in range(2)]


def build(
    toy_runner,
    work_dir: Path,
    kind: str,
    hooks: tuple = (),
    epochs: int = 2,
    checkpoint: dict | None = None,
    **options: Any,
) -> Runner:
    """A run of two processes, or of one where there is no process group."""
    several = dist.is_initialized()
    torch.manual_seed(0)
    wrapper = {'type': 'MMDistributedDataParallel', 'device_ids': None}
    runner = toy_runner(
        work_dir,
        {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': epochs},
        hooks=list(hooks),
        model=Tiny(),
        runner_class=Runner,
        optimizer=dict(OPTIMIZERS[kind]),
        launcher='pytorch' if several else 'none',
        loader={'batch_size': 1},
        default_hooks={
            'logger': None,
            'checkpoint': {'type': 'mmswin.CheckpointHook', 'interval': 1, **(checkpoint or {})},
        },
        cfg={'strategy': {'type': kind}, **({'model_wrapper_cfg': wrapper} if several and kind != 'fsdp' else {})},
        **options,
    )
    runner.optim_wrapper = {**runner.optim_wrapper, 'clip_grad': {'max_norm': 0.5}}
    return runner


def trained(toy_runner, work_dir: Path, kind: str, **options: Any) -> dict[str, Any]:
    """Train, and say what the losses were and what this process held."""
    note = Note()
    runner = build(toy_runner, work_dir, kind, hooks=(note,), **options)
    runner.train()
    optimizer = runner.optim_wrapper.optimizer
    states = [
        value
        for owner in (optimizer, getattr(optimizer, 'optim', None))
        if owner is not None
        for state in owner.state.values()
        if state
        for value in state.values()
        if torch.is_tensor(value)
    ]
    norm = float(runner.message_hub.get_scalar('train/grad_norm').current())
    return {
        'losses': note.losses,
        'parameters': local_numel(runner.model.parameters()),
        'state': local_numel(states),
        'sharded': is_sharded(runner.model),
        'norm': norm,
    }


def stopped(toy_runner, work_dir: Path, kind: str) -> None:
    """Train until the second process alone gets a signal."""
    hooks = (Note(signal_after=2 if dist.get_rank() else 0), StopOnSignalHook())
    with pytest.raises(TrainingStopped):
        build(toy_runner, work_dir, kind, hooks=hooks).train()


def saved_at_second_try(toy_runner, work_dir: Path) -> int:
    """Train with a disk that is full once, for the process that writes; returns how often it was, for this process."""
    write, failed = atomic.write, []

    def full_once(path: Any, content: bytes | str) -> None:
        if Path(path).name == 'epoch_3.pth' and not failed:
            failed.append(path)
            raise SavingError(f'{path}: {os.strerror(errno.ENOSPC)}')
        write(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic, 'write', full_once)
        runner = build(toy_runner, work_dir, 'fsdp', epochs=3, checkpoint={'max_keep_ckpts': 2})
        runner.train()
    with pytest.raises(RunError, match='name the file in load_from'):
        runner.load_checkpoint(str(work_dir / 'epoch_3.pth'))
    return len(failed)


@pytest.fixture(scope='module')
def runs(toy_runner, tmp_path_factory):
    """All that two processes do here, in one go: to start them takes longer than what they do."""
    directory = tmp_path_factory.mktemp('runs')
    trained(toy_runner, directory / 'one', 'ddp', epochs=1)  # imports what each process would import for itself
    import torch.distributed.fsdp
    import torch.distributed.tensor  # noqa: F401

    def work() -> dict[Any, Any]:
        results = {kind: trained(toy_runner, directory / kind, kind) for kind in KINDS}
        for kind, source in RESUMED:
            results[kind, source] = trained(
                toy_runner,
                directory / f'{kind}_after_{source}',
                kind,
                resume=True,
                load_from=str(directory / source / 'epoch_1.pth'),
            )
        for kind in KINDS:
            stopped(toy_runner, directory / f'{kind}_stopped', kind)
        results['full disk'] = saved_at_second_try(toy_runner, directory / 'full')
        return results

    return directory, in_two_processes(directory, work)


@pytest.mark.parametrize('kind', ['zero', 'fsdp'])
def test_losses_and_gradients_are_those_of_plain_processes(runs, kind):
    _, results = runs
    for result in results:
        assert result[kind]['sharded'] == (kind == 'fsdp')
        assert len(result['ddp']['losses']) == 10
        assert result[kind]['losses'] == pytest.approx(result['ddp']['losses'], rel=1e-5)
        assert result[kind]['norm'] == pytest.approx(result['ddp']['norm'], rel=1e-4)
    assert results[0]['ddp']['losses'] != results[1]['ddp']['losses']  # they train on different images


def test_each_process_holds_its_part(runs):
    _, results = runs
    parameters, state = results[0]['ddp']['parameters'], results[0]['ddp']['state']
    assert state > 2 * parameters  # two moments, and a step for each tensor
    for part, of_it in (('parameters', parameters), ('state', state)):
        shares = [result['fsdp'][part] / of_it for result in results]
        assert max(shares) < 0.52
        assert 1 <= sum(shares) < 1.01
    shares = [result['zero']['state'] / state for result in results]
    assert max(shares) < 0.65  # whole tensors are dealt out
    assert sum(shares) == pytest.approx(1)
    assert results[0]['zero']['parameters'] == parameters


@pytest.mark.parametrize('kind', KINDS)
def test_checkpoint_is_that_of_plain_processes(runs, kind):
    directory, _ = runs
    plain, saved = (load_file(directory / name / 'epoch_2.pth') for name in ('ddp', kind))
    model = Tiny()
    model.load_state_dict(saved['state_dict'], strict=True)
    for name, value in plain['state_dict'].items():
        # AdamW makes steps of 0.01 out of gradients of any size, rounding included: a thousandth of one step.
        torch.testing.assert_close(saved['state_dict'][name], value, rtol=1e-5, atol=1e-5, msg=name)
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    optimizer.load_state_dict(saved['optimizer'])
    assert len(optimizer.state) == len(list(model.parameters()))
    assert list(saved['optimizer']['state']) == list(plain['optimizer']['state'])
    for number, state in plain['optimizer']['state'].items():
        for name, value in state.items():
            found = saved['optimizer']['state'][number][name]
            torch.testing.assert_close(found, value, rtol=1e-4, atol=1e-7, msg=f'{name} of {number}')


@pytest.mark.parametrize(('kind', 'source'), RESUMED)
def test_resumes_from_any(runs, kind, source):
    _, results = runs
    for result in results:
        resumed = result[kind, source]
        assert resumed['losses'] == pytest.approx(result[kind]['losses'][5:], rel=1e-5)
        assert resumed['state'] == result[kind]['state']  # loading leaves no second copy


def test_one_process_goes_on_with_what_two_shared(runs, toy_runner, tmp_path):
    directory, _ = runs
    note = Note()
    runner = build(
        toy_runner,
        tmp_path / 'run',
        'ddp',
        hooks=(note,),
        epochs=3,
        resume=True,
        load_from=str(directory / 'fsdp' / 'epoch_2.pth'),
    )
    runner.train()
    assert runner.epoch == 3
    assert note.losses


@pytest.mark.parametrize('kind', KINDS)
def test_signal_to_one_process_saves_what_all_share(runs, kind):
    directory, _ = runs
    saved = load_file(directory / f'{kind}_stopped' / 'iter_2.pth')
    Tiny().load_state_dict(saved['state_dict'], strict=True)
    assert len(saved['optimizer']['state']) == len(list(Tiny().parameters()))


def test_second_try_of_a_save_is_made_by_all(runs):
    """The parts of the process that does not write are needed again."""
    directory, results = runs
    assert [result['full disk'] for result in results] == [1, 0]
    assert sorted(path.name for path in (directory / 'full').glob('*.pth')) == ['epoch_2.pth', 'epoch_3.pth']
