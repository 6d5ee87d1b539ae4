"""Two batches of one image, accumulated, are a batch of two: the same gradients and the same step, where the loss is a
mean over images. Where a loss is divided by what is found in a batch, they are not, and that is shown too.
"""

from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from mmswin.backbones import SwinTransformer
from mmswin.engine.saving import Runner


class Gradients(Hook):
    """The gradients with which the optimizer steps, and the parameters after its step, each time."""

    def __init__(self) -> None:
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.parameters: list[dict[str, torch.Tensor]] = []
        self.batches: list[dict] = []

    def before_train(self, runner) -> None:
        named = dict(runner.model.named_parameters())
        optimizer = runner.optim_wrapper.optimizer
        optimizer.register_step_pre_hook(
            lambda *_: self.gradients.append({name: p.grad.clone() for name, p in named.items()})
        )
        optimizer.register_step_post_hook(
            lambda *_: self.parameters.append({name: p.detach().clone() for name, p in named.items()})
        )

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.batches.append(data_batch)


class Images(torch.utils.data.Dataset):
    """Eight images, each with a label map; the share of labelled pixels differs when ``ignored``."""

    metainfo = {'classes': ('a', 'b')}

    def __init__(self, ignored: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(8, 3, 32, 32, generator=generator, dtype=torch.float64)
        self.labels = torch.randint(0, 2, (8, 8, 8), generator=generator)
        if ignored:
            for number, labels in enumerate(self.labels):
                labels[number + 1 :] = 255

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {'inputs': self.images[index], 'labels': self.labels[index]}


class Segmenter(BaseModel):
    """A tiny Swin without random depth, and a layer of classes; float64, so that rounding hides nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = SwinTransformer(
            embed_dims=8, depths=(2,), num_heads=(2,), strides=(4,), window_size=4, out_indices=(0,), drop_path_rate=0.0
        )
        self.head = nn.Conv2d(8, 2, 1)
        self.double()

    def forward(self, inputs: Any, labels: Any, mode: str = 'loss') -> dict[str, torch.Tensor]:
        scores = self.head(self.backbone(torch.stack(list(inputs)))[0])
        return {'loss': nn.functional.cross_entropy(scores, torch.stack(list(labels)), ignore_index=255)}


def train(
    toy_runner, directory: Path, batch: int, accumulated: int, ignored: bool = False, iterations: int | None = None
) -> Gradients:
    """Train on the same eight images, in the same order."""
    noted = Gradients()
    torch.manual_seed(0)
    runner = toy_runner(
        directory,
        {'type': 'mmswin.IterBasedTrainLoop', 'max_iters': iterations or 8 // batch},
        hooks=(noted,),
        loader={'dataset': Images(ignored), 'batch_size': batch},
        model=Segmenter(),
        runner_class=Runner,
    )
    runner.optim_wrapper = {**runner.optim_wrapper, 'accumulative_counts': accumulated}
    runner.train()
    return noted


def test_accumulated_batches_are_the_large_batch(toy_runner, tmp_path):
    large = train(toy_runner, tmp_path / 'large', 2, 1)
    small = train(toy_runner, tmp_path / 'small', 1, 2)
    assert len(large.gradients) == len(small.gradients) == 4
    for kind in ('gradients', 'parameters'):
        for step, (wanted, found) in enumerate(zip(getattr(large, kind), getattr(small, kind))):
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-10, msg=f'{kind}: {name}, {step}')


def test_what_is_left_over_at_the_end_is_a_step_too(toy_runner, tmp_path):
    """Three batches by two: a step of two, and one of the last alone, in full."""
    noted = train(toy_runner, tmp_path / 'run', 1, 2, iterations=3)
    assert len(noted.gradients) == 2
    model = Segmenter()
    model.load_state_dict(noted.parameters[0])
    model(**noted.batches[2])['loss'].backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(noted.gradients[1][name], parameter.grad, rtol=1e-7, atol=1e-10)


def test_losses_divided_by_what_a_batch_holds_differ(toy_runner, tmp_path):
    """Ignored pixels, as positive boxes in detection: each batch divides by its own, so images weigh otherwise."""
    large = train(toy_runner, tmp_path / 'large', 2, 1, ignored=True)
    small = train(toy_runner, tmp_path / 'small', 1, 2, ignored=True)
    name = 'head.weight'
    difference = (large.gradients[0][name] - small.gradients[0][name]).norm() / large.gradients[0][name].norm()
    assert difference > 1e-3
