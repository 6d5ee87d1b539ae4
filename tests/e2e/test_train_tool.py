"""tools/train.py as a user calls it, on the CPU: stopped by SIGTERM and by SIGKILL and resumed it ends exactly where an
uninterrupted run ends; a seed gives the same run to the bit; mmseg configs train through the same tool; a loss that is
not finite ends the run.
"""

import signal
from pathlib import Path

import pytest
import torch

from mmswin.checkpoints import load_file

# With drop path and random flips: what is resumed draws what the uninterrupted run draws.
EXACT = ('--seed', 0, '--deterministic', '--cfg-options', 'train_cfg.val_interval=9')


def load(path: Path) -> dict:
    return load_file(path)


def assert_same(a: object, b: object, where: str = '') -> None:
    """Nested equality, tensors to the bit."""
    if torch.is_tensor(a):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for index, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f'{where}.{index}')
    else:
        assert a == b, where


def assert_same_run(a: Path, b: Path) -> None:
    """Two checkpoints hold the same iteration, weights, optimizer and schedule."""
    first, second = load(a), load(b)
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_same(first[part], second[part], part)
    for part in ('iter', 'epoch', 'seed'):
        assert first['meta'][part] == second['meta'][part], part


def test_sigterm_saves_and_resume_ends_like_the_uninterrupted_run(workplace):
    train = ('train.py', workplace.detection, *EXACT)
    stopped = workplace.call_until('Epoch(train) [2][2/4]', signal.SIGTERM, *train, '--work-dir', 'parts')
    assert stopped.status == 128 + signal.SIGTERM, stopped.output
    assert 'Stopped by SIGTERM after iteration' in stopped.output
    assert 'Traceback' not in stopped.output
    saved = Path((workplace.directory / 'parts' / 'last_checkpoint').read_text())
    at = load(saved)
    iteration = at['meta']['iter']
    assert 6 <= iteration < 12
    assert saved.name == f'iter_{iteration}.pth'
    assert {int(state['step']) for state in at['optimizer']['state'].values()} == {iteration}

    resumed = workplace.call(*train, '--work-dir', 'parts', '--resume')
    assert resumed.status == 0, resumed.output
    assert f'resumed after iteration {iteration}' in resumed.output
    # The first line of the resumed log is the next iteration, of the same epoch.
    assert f'Epoch(train) [{iteration // 4 + 1}][{iteration % 4 + 1}/4]' in resumed.output

    whole = workplace.call(*train, '--work-dir', 'whole')
    assert whole.status == 0, whole.output
    assert_same_run(workplace.directory / 'whole' / 'epoch_3.pth', workplace.directory / 'parts' / 'epoch_3.pth')


@pytest.mark.slow
def test_kill_9_resumes_from_the_last_complete_checkpoint(workplace):
    train = (
        'train.py',
        workplace.detection,
        *EXACT,
        'default_hooks.checkpoint.by_epoch=False',
        'default_hooks.checkpoint.interval=2',
    )
    killed = workplace.call_until('Epoch(train) [2][3/4]', signal.SIGKILL, *train, '--work-dir', 'parts')
    assert killed.status == -signal.SIGKILL
    parts = workplace.directory / 'parts'
    # What a kill in the middle of saving leaves behind.
    (parts / 'iter_8.pth').write_bytes((parts / 'iter_6.pth').read_bytes()[:2000])

    resumed = workplace.call(*train, '--work-dir', 'parts', '--resume')
    assert resumed.status == 0, resumed.output
    assert 'passed over iter_8.pth' in resumed.output
    assert 'resumed after iteration 6' in resumed.output
    whole = workplace.call(*train, '--work-dir', 'whole')
    assert whole.status == 0, whole.output
    assert_same_run(workplace.directory / 'whole' / 'iter_12.pth', parts / 'iter_12.pth')


@pytest.mark.slow
def test_seed_and_deterministic_give_the_same_run_to_the_bit(workplace):
    """20 iterations with drop path, random flips and loader workers."""
    for name in ('first', 'second'):
        done = workplace.call(
            'train.py',
            workplace.detection,
            '--work-dir',
            name,
            '--seed',
            0,
            '--deterministic',
            '--cfg-options',
            'train_cfg.max_epochs=5',
            'train_cfg.val_interval=9',
            'train_dataloader.num_workers=2',
            '+train_dataloader.persistent_workers=True',
        )
        assert done.status == 0, done.output
    first, second = (workplace.directory / name / 'epoch_5.pth' for name in ('first', 'second'))
    assert load(first)['meta']['iter'] == 20
    assert_same_run(first, second)


def test_mmseg_config_trains_and_a_run_that_diverges_is_stopped(workplace):
    done = workplace.call('train.py', workplace.segmentation, '--amp', 'bf16', '--cfg-options', 'train_cfg.max_iters=2')
    assert done.status == 0, done.output
    assert 'bfloat16 autocast' in done.output
    work_dir = workplace.directory / 'work_dirs' / 'tiny_segmentation'
    assert load(work_dir / 'iter_2.pth')['meta']['iter'] == 2

    before = (work_dir / 'iter_2.pth').stat().st_mtime_ns
    diverged = workplace.call(
        'train.py',
        workplace.segmentation,
        '--load-from',
        work_dir / 'iter_2.pth',
        '--overwrite',
        '--cfg-options',
        'optim_wrapper.optimizer.lr=1e30',
    )
    assert diverged.status == 1, diverged.output
    errors = [line for line in diverged.output.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1
    assert 'loss is not finite in iteration 2' in errors[0]
    assert 'train/0000' in errors[0]
    assert 'Traceback' not in diverged.output
    assert (work_dir / 'iter_2.pth').stat().st_mtime_ns == before
