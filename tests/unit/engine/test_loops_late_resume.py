"""Resumed at iteration 100 000 of a data set of COCO's size, a run starts in seconds with the images that an
uninterrupted run would have next; nothing that was seen is read. In one process and in two.
"""

import os
import time
import traceback
from itertools import islice
from pathlib import Path

import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import Hook
from torch import distributed as dist
from torch.utils.data import BatchSampler, Dataset

from mmswin.engine.stopping import save_state

IMAGES, DONE, MORE = 117_266, 100_000, 3
EPOCHS = {'type': 'mmswin.EpochBasedTrainLoop', 'max_epochs': 4}
ITERATIONS = {'type': 'mmswin.IterBasedTrainLoop', 'max_iters': 200_000}


class Large(Dataset):
    """As many images as COCO's training set, a third of them upright."""

    metainfo = {'classes': ('a',)}

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return IMAGES

    def get_data_info(self, index: int) -> dict[str, int]:
        return {'width': 480 if index % 3 else 320, 'height': 400}

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.read += 1
        return {'inputs': torch.tensor([float(index)])}


class EndAfter(Hook):
    """Saves a checkpoint that says it is of iteration 100 000, or just ends the run, after some iterations."""

    priority = 'LOWEST'

    def __init__(self, iterations: int, epoch: int | None = None) -> None:
        self.left = iterations
        self.epoch = epoch

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.left -= 1
        if self.left == 0:
            if self.epoch is not None:
                save_state(runner, Path(runner.work_dir) / 'late.pth', self.epoch, DONE)
            raise KeyboardInterrupt


def batches(sampler: str, aspect_ratio: bool, skipped_passes: int) -> BatchSampler:
    """The batches of a pass by the libraries' own samplers."""
    dataset = Large()
    indices = (InfiniteSampler if sampler == 'InfiniteSampler' else DefaultSampler)(dataset, seed=0)
    indices.set_epoch(skipped_passes)
    if aspect_ratio:
        from mmdet.datasets.samplers import AspectRatioBatchSampler

        return AspectRatioBatchSampler(indices, batch_size=2)
    return BatchSampler(indices, batch_size=2, drop_last=False)


def resume_late(toy_runner, directory: Path, train_cfg: dict, sampler: str, aspect_ratio: bool) -> None:
    """Resume at iteration 100 000 and check the next batches, in this process of the run."""
    length = len(batches(sampler, aspect_ratio, 0))
    passes, within = (0, DONE) if sampler == 'InfiniteSampler' else divmod(DONE, length)
    loader = {'batch_sampler': {'type': 'mmdet.AspectRatioBatchSampler'}} if aspect_ratio else {}
    directory.mkdir(exist_ok=True)

    def run(hook: EndAfter, **options):
        runner = toy_runner(
            directory, train_cfg, sampler, hooks=[hook], loader={'dataset': Large(), **loader}, **options
        )
        with pytest.raises(KeyboardInterrupt):
            runner.train()
        return runner

    run(EndAfter(1, epoch=0 if train_cfg is ITERATIONS else passes))
    if dist.is_initialized():
        dist.barrier()  # the first process has saved for all
    began = time.monotonic()
    runner = run(EndAfter(MORE), resume=True, load_from=str(directory / 'late.pth'))
    assert time.monotonic() - began < 600  # walking through the data would take hours
    assert runner.model.seen == [list(b) for b in islice(batches(sampler, aspect_ratio, passes), within, within + MORE)]
    assert runner.train_dataloader.dataset.read == 2 * MORE


CASES = pytest.mark.parametrize(
    ('train_cfg', 'sampler', 'aspect_ratio'),
    [(ITERATIONS, 'InfiniteSampler', False), (ITERATIONS, 'DefaultSampler', False), (EPOCHS, 'DefaultSampler', True)],
)


@CASES
def test_one_process(toy_runner, tmp_path, train_cfg, sampler, aspect_ratio):
    resume_late(toy_runner, tmp_path / 'run', train_cfg, sampler, aspect_ratio)


@CASES
def test_two_processes(toy_runner, tmp_path, train_cfg, sampler, aspect_ratio):
    children = []
    for rank in range(2):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                dist.init_process_group('gloo', init_method=f'file://{tmp_path}/meeting', rank=rank, world_size=2)
                resume_late(toy_runner, tmp_path / 'run', train_cfg, sampler, aspect_ratio)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
