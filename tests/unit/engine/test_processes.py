"""A process of a run neither waits for one that is gone nor outlives its launcher. With real processes and gloo."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import distributed as dist

from mmswin.engine import processes
from mmswin.engine.processes import explained_loss_of_process, follow_launcher
from mmswin.errors import LostProcessError, run_tool


def reduce_for_ever() -> None:
    while True:
        dist.all_reduce(torch.zeros(3))


def work(directory: Path, rank: int) -> int:
    """One process of a run, as the tool ends it; its words go to a file."""
    os.environ['LOCAL_RANK'] = str(rank)
    sys.stderr = (directory / f'{rank}.txt').open('w')
    dist.init_process_group('gloo', init_method=f'file://{directory}/meeting', rank=rank, world_size=2)
    dist.barrier()
    (directory / f'{rank}.ready').touch()

    def main() -> None:
        with explained_loss_of_process():
            reduce_for_ever()

    return run_tool(main)


@pytest.mark.parametrize('victim', [0, 1])
def test_when_one_is_killed_the_other_says_so_and_ends(tmp_path, victim):
    pids = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            os._exit(work(tmp_path, rank))
        pids.append(pid)
    while not all((tmp_path / f'{rank}.ready').exists() for rank in range(2)):
        time.sleep(0.05)
    began = time.monotonic()
    os.kill(pids[victim], signal.SIGKILL)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    assert time.monotonic() - began < 600  # gloo alone would wait for half an hour
    assert statuses[victim] == -signal.SIGKILL
    assert statuses[1 - victim] == 1
    said = (tmp_path / f'{1 - victim}.txt').read_text()
    assert f'error: process {1 - victim} of 2 stops because another one is gone' in said
    assert '--resume' in said
    assert 'Traceback' not in said


def test_other_errors_pass_through_and_one_process_loses_none():
    for message in ('CUDA out of memory', 'Connection closed by peer'):
        with pytest.raises(RuntimeError, match=message) as caught, explained_loss_of_process():
            raise RuntimeError(message)
        assert not isinstance(caught.value, LostProcessError)


@pytest.mark.parametrize(('stops_when_asked', 'expected'), [(True, 'stopped'), (False, 'deaf')])
def test_process_ends_when_its_launcher_was_killed(tmp_path, monkeypatch, stops_when_asked, expected):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    monkeypatch.setattr(processes, '_LOOK_EVERY', 0.1)
    monkeypatch.setattr(processes, '_GRACE', 0.5)
    launcher = os.fork()
    if launcher == 0:
        if os.fork() == 0:

            def asked(signum, frame) -> None:
                (tmp_path / ('stopped' if stops_when_asked else 'deaf')).touch()
                if stops_when_asked:
                    os._exit(0)

            signal.signal(signal.SIGTERM, asked)
            follow_launcher()
            (tmp_path / 'pid.part').write_text(str(os.getpid()))
            (tmp_path / 'pid.part').rename(tmp_path / 'pid')
            while True:
                time.sleep(0.05)
        time.sleep(600)
        os._exit(0)
    while not (tmp_path / 'pid').exists():
        time.sleep(0.05)
    os.kill(launcher, signal.SIGKILL)
    os.waitpid(launcher, 0)
    process = Path('/proc', (tmp_path / 'pid').read_text(), 'stat')
    for _ in range(1200):
        if not process.exists() or ') Z ' in process.read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail('the process outlived its launcher')
    assert (tmp_path / expected).exists()


def test_without_torchrun_nobody_watches(monkeypatch):
    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    monkeypatch.setattr(processes.threading, 'Thread', None)
    follow_launcher()


@pytest.mark.parametrize(
    ('launcher', 'name'), [('pytorch', 'RANK'), ('slurm', 'SLURM_PROCID'), ('mpi', 'OMPI_COMM_WORLD_RANK')]
)
def test_the_first_of_a_run_is_the_launchers(launcher: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK'):
        monkeypatch.delenv(other, raising=False)
    assert processes.is_first_process(launcher)
    monkeypatch.setenv(name, '1')
    assert not processes.is_first_process(launcher)
    assert processes.is_first_process('none'), 'a run of its own'
