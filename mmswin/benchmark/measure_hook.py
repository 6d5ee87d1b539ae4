"""What is measured inside a run of the tools: images a second, and the backbone's share of the time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmswin.benchmark.side_process import peak_bytes
from mmswin.benchmark.work import synchronize
from mmswin.errors import RunError
from mmswin.registry import HOOKS

# Images that are loaded once more, by the main process alone, to tell what loading costs.
_LOADED_AGAIN = 8


class BackboneTimer:
    """Times forward and backward of a module within a larger network, without waiting for the device.

    Forward lies between the module's own hooks. Backward begins when the first of its outputs has its gradient and ends
    when the last of its parameters has: autograd works from the last operation back, so all that comes behind the
    module is done by then. On a GPU the stamps are events in its stream, read at the end.

    Args:
        module: Returns tensors.
        device: Where it computes.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._gpu = device.type == 'cuda'
        self._forward: list[tuple[Any, Any]] = []
        self._backward: list[tuple[Any, Any]] = []
        self._entered = self._reached = self._left = None
        module.register_forward_pre_hook(self._enter)
        module.register_forward_hook(self._leave)
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(self._accumulated)

    def take(self) -> tuple[float, float]:
        """Seconds of forward and of backward since the last call; the device must have finished."""
        self.close()
        sums = tuple(sum(self._between(*pair) for pair in pairs) for pairs in (self._forward, self._backward))
        self._forward, self._backward, self.shapes = [], [], []
        return sums

    def close(self) -> None:
        """End an iteration."""
        if self._reached is not None and self._left is not None:
            self._backward.append((self._reached, self._left))
        self._reached = self._left = None

    def _stamp(self) -> Any:
        if not self._gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1e3 if self._gpu else end - start

    def _enter(self, module: nn.Module, inputs: tuple) -> None:
        self.shapes.append(tuple(inputs[0].shape))
        self._entered = self._stamp()

    def _leave(self, module: nn.Module, inputs: tuple, outputs: Sequence[Tensor]) -> None:
        self._forward.append((self._entered, self._stamp()))
        for output in outputs:
            if output.requires_grad:
                output.register_hook(self._gradient)

    def _gradient(self, gradient: Tensor) -> None:
        if self._reached is None:
            self._reached = self._stamp()

    def _accumulated(self, parameter: Tensor) -> None:
        self._left = self._stamp()


def _stochastic_depth(backbone: nn.Module) -> list[tuple[nn.Module, str, float]]:
    """Where the probabilities of stochastic depth stand, in ours and in mmdet's and mmseg's classes."""
    places = [(module, name) for module in backbone.modules() for name in ('drop_path', 'drop_prob')]
    return [
        (module, name, getattr(module, name))
        for module, name in places
        if isinstance(getattr(module, name, None), float)
    ]


@HOOKS.register_module()
class MeasureHook(Hook):
    """Keeps what the first iteration computes, and times a number of later ones.

    The first iteration is without stochastic depth and from a fixed random state, so that two backbones can be
    compared. Writing ends the measurement; the run goes on.

    Args:
        result: JSON file for the figures.
        observation: File of torch for the first iteration's maps and losses or predictions.
        warm_up: Iterations before the clock starts, one at least.
        iterations: Iterations that are timed.
    """

    priority = 'VERY_LOW'  # what the other hooks do in an iteration is part of it

    def __init__(self, result: str, observation: str, warm_up: int, iterations: int) -> None:
        self._result = result
        self._observation = observation
        self._warm_up = warm_up
        self._last = warm_up + iterations
        self._done = self._images = 0
        self._waited = 0.0
        self._seen: dict[str, Any] = {}

    def before_train(self, runner: Runner) -> None:
        """Attach the timers."""
        self._attach(runner)

    def before_test(self, runner: Runner) -> None:
        """Attach the timers."""
        found = len(runner.test_loop.dataloader)
        if found < self._last:
            raise RunError(
                f'the data has {found} batches for testing, and {self._last} are needed: give fewer '
                '--iterations, or more images'
            )
        self._attach(runner)

    def _attach(self, runner: Runner) -> None:
        self._backbone = runner.model.backbone
        self._device = next(runner.model.parameters()).device
        self._timer = BackboneTimer(self._backbone, self._device)
        self._depth = _stochastic_depth(self._backbone)
        self._keeper = self._backbone.register_forward_hook(self._keep_maps)

    def _keep_maps(self, module: nn.Module, inputs: tuple, outputs: Sequence[Tensor]) -> None:
        self._seen['maps'] = [output.detach().float().cpu() for output in outputs]

    def _before_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, mode: str = 'train') -> None:
        if self._done == 0:
            for module, name, _ in self._depth:
                setattr(module, name, 0.0)
            torch.manual_seed(0)
        elif self._done >= self._warm_up:
            self._waited += runner.message_hub.get_scalar(f'{mode}/data_time').current()

    def _after_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None,
                    mode: str = 'train') -> None:  # fmt: skip
        self._timer.close()
        if self._done == 0:
            for module, name, value in self._depth:
                setattr(module, name, value)
            self._keeper.remove()
            self._seen |= {'losses': _losses(outputs)} if mode == 'train' else {'predictions': _predictions(outputs)}
            torch.save(self._seen, self._observation)
            self._seen.clear()
        elif self._warm_up <= self._done < self._last:
            self._images += len(data_batch['inputs'])
        self._done += 1
        if self._done == self._warm_up:
            synchronize(str(self._device))
            self._timer.take()
            self._start = time.perf_counter()
        elif self._done == self._last:
            self._write(runner, mode)

    def _write(self, runner: Runner, mode: str) -> None:
        synchronize(str(self._device))
        seconds = time.perf_counter() - self._start
        shapes = self._timer.shapes
        forward, backward = self._timer.take()
        loop = runner.train_loop if mode == 'train' else runner.test_loop
        figures = {
            'images': self._images,
            'seconds': seconds,
            'waiting': self._waited,
            'forward': forward,
            'backward': backward,
            'peak_bytes': peak_bytes() if self._device.type == 'cpu' else torch.cuda.max_memory_allocated(),
            'loading': _loading(loop.dataloader.dataset),
            'shapes': ['x'.join(map(str, shape)) for shape in shapes],
        }
        Path(self._result).write_text(json.dumps(figures))


def _losses(outputs: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in outputs.items() if 'loss' in name}


def _predictions(samples: Sequence[Any]) -> list[dict[str, Tensor]]:
    """Boxes with labels and scores, or label maps, of every image."""
    found = []
    for sample in samples:
        if 'pred_sem_seg' in sample:
            found.append({'map': sample.pred_sem_seg.data.cpu()})
        else:
            instances = sample.pred_instances
            found.append({name: instances[name].detach().cpu() for name in ('bboxes', 'labels', 'scores')})
    return found


def _loading(dataset: Any) -> float:
    """Seconds in which the main process alone loads and transforms an image."""
    number = min(_LOADED_AGAIN, len(dataset))
    start = time.perf_counter()
    for index in range(number):
        dataset[index]
    return (time.perf_counter() - start) / number
