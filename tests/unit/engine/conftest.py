"""A Runner on a toy model that remembers which samples it saw, for tests of the training loops and of resuming."""

import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset

import mmswin.registry  # noqa: F401


class Numbers(Dataset):
    """Ten samples; a sample is its index. Counts how many were read."""

    metainfo = {'classes': ('a',)}

    def __init__(self) -> None:
        self.read = 0

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.read += 1
        return {'inputs': torch.tensor([float(index)])}


class Toy(BaseModel):
    """One weight; remembers the samples of every batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[list[int]] = []

    def forward(self, inputs: Any, mode: str = 'loss') -> dict[str, torch.Tensor] | list[dict]:
        values = torch.stack(list(inputs))
        if mode != 'loss':
            return [{'value': float(value)} for value in self.layer(values)]
        self.seen.append([int(value) for value in values])
        return {'loss': (self.layer(values) - 1).square().mean()}


def build_toy_runner(
    work_dir: Path,
    train_cfg: dict,
    sampler: str = 'DefaultSampler',
    hooks: tuple = (),
    loader: dict | None = None,
    model: BaseModel | None = None,
    runner_class: type[Runner] = Runner,
    optimizer: dict | None = None,
    **kwargs: Any,
) -> Runner:
    """A Runner over :class:`Numbers` in batches of two, without default checkpoints."""
    torch.manual_seed(0)
    return runner_class(
        model or Toy(),
        str(work_dir),
        train_cfg=train_cfg,
        train_dataloader={
            'dataset': Numbers(),
            'batch_size': 2,
            'num_workers': 0,
            'sampler': {'type': sampler, 'shuffle': True},
            **(loader or {}),
        },
        optim_wrapper={'optimizer': optimizer or {'type': 'AdamW', 'lr': 0.1}},
        custom_hooks=list(hooks),
        experiment_name=uuid.uuid4().hex,
        log_level='ERROR',
        default_scope='mmengine',
        **{'randomness': {'seed': 0}, 'default_hooks': {'checkpoint': None, 'logger': None}, **kwargs},
    )


@pytest.fixture
def numbers() -> Numbers:
    """A data set for a toy runner's validation."""
    return Numbers()


@pytest.fixture(scope='session')
def toy_runner():
    """The builder of toy runners."""
    with pytest.MonkeyPatch.context() as patch:
        # mmengine's loops wait for two seconds where a pass over the data ends.
        patch.setattr('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None))
        yield build_toy_runner
