"""Two processes decide together: a flag of one reaches both, values are gathered in the order of the ranks."""

import torch.multiprocessing as mp
from torch import distributed as dist

from mmswin.engine.processes import any_process, cpu_group, gather


def test_one_process_decides_alone():
    assert cpu_group() is None
    assert any_process(True) is True
    assert any_process(False) is False
    assert gather('x') == ['x']


def _vote(rank: int, store: str) -> None:
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=2)
    try:
        assert any_process(rank == 1) is True
        assert any_process(False) is False
        assert gather(f'rank {rank}') == ['rank 0', 'rank 1']
    finally:
        dist.destroy_process_group()


def test_two_processes_decide_together(tmp_path):
    # Raises what a process raised and ends the other. Forked, as pytest's import mode leaves nothing to import by name.
    mp.start_processes(_vote, args=(str(tmp_path / 'store'),), nprocs=2, start_method='fork')
