"""Stop a run whose loss is NaN or infinite, and say on which images."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmswin.engine.processes import any_process, cpu_group, gather
from mmswin.errors import NonFiniteLossError, printable
from mmswin.registry import HOOKS

_SHOWN_IMAGES = 16


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stops training at the first loss that is not finite, before a checkpoint of the spoilt weights can be saved.

    mmdet's ``CheckInvalidLossHook`` looks every 50th iteration, names nothing, and in several processes stops only the
    one that saw it.

    Args:
        interval: Look every so many iterations. Looking waits for the GPU to finish the iteration; with an interval
            above 1 a checkpoint may be saved between the fault and its discovery.

    Raises:
        NonFiniteLossError: In all processes, with the iteration, the terms of the loss and the images of the batch.
        ValueError: ``interval`` is below 1.
    """

    # Before the checkpoint hook (VERY_LOW), after nothing it needs.
    priority = 'ABOVE_NORMAL'

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f'interval must be at least 1, got {interval}')
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Set up what the processes need to agree."""
        cpu_group()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Look at the losses of one iteration."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        terms = _scalars(outputs)
        # The total is the sum of the terms; a model without one reports terms only.
        checked = [terms['loss']] if 'loss' in terms else list(terms.values())
        bad = bool(checked) and not bool(torch.isfinite(torch.stack(checked)).all())
        if not any_process(bad):
            return
        found = gather(_describe(terms, data_batch) if bad else None)
        details = '; '.join(
            f'process {rank}: {text}' if len(found) > 1 else text for rank, text in enumerate(found) if text
        )
        last = runner.message_hub.get_info('last_ckpt') if 'last_ckpt' in runner.message_hub.runtime_info else None
        keep = f'the last good checkpoint is {last}' if last else 'no checkpoint has been saved in this run'
        message = (
            f'loss is not finite in iteration {runner.iter + 1} (epoch {runner.epoch + 1}): {details}. Training '
            f'stops; {keep}. Look at the annotations of these images (mmswin check), lower the learning '
            'rate or lengthen the warm-up, clip gradients (optim_wrapper.clip_grad.max_norm), or train in '
            'float32 or --amp bf16 instead of float16'
        )
        runner.logger.error(message)
        raise NonFiniteLossError(message)


def _scalars(outputs: dict | None) -> dict[str, torch.Tensor]:
    """The terms of the loss that a training step reports."""
    if not isinstance(outputs, dict):
        return {}
    return {
        name: value.detach().float().reshape(())
        for name, value in outputs.items()
        if torch.is_tensor(value) and value.numel() == 1 and 'loss' in name
    }


def _describe(terms: dict[str, torch.Tensor], data_batch: Any) -> str:
    """What one process knows of the fault."""
    values = {name: float(value) for name, value in terms.items()}
    named = ', '.join(f'{name}={value:g}' for name, value in values.items() if not math.isfinite(value))
    images = f'{named}, images: {", ".join(image_ids(data_batch)[:_SHOWN_IMAGES]) or "unknown"}'
    flat = sum(_flat_boxes(sample) for sample in _samples(data_batch))
    # Two-stage detectors take the true boxes as proposals, and divide by their sizes.
    advice = 'such as a RandomCrop can leave: put FilterAnnotations behind it'
    return f'{images}, boxes without width or height: {flat} ({advice})' if flat else images


def _flat_boxes(sample: Any) -> int:
    """How many true boxes of a sample have no area."""
    boxes = getattr(getattr(sample, 'gt_instances', None), 'bboxes', None)
    boxes = getattr(boxes, 'tensor', boxes)
    if not torch.is_tensor(boxes) or boxes.shape[-1] != 4:
        return 0
    return int((boxes[..., 2:] <= boxes[..., :2]).any(-1).sum())


def image_ids(data_batch: Any) -> list[str]:
    """Ids (and file names) of the images of a batch of mmdet or mmseg; wrappers of several branches included."""
    found = ((sample.get('img_id'), sample.get('img_path')) for sample in _samples(data_batch))
    return [printable(path if number is None else f'{number} ({path})' if path else number) for number, path in found]


def _samples(batch: Any) -> Iterator[Any]:
    if hasattr(batch, 'metainfo'):
        yield batch
    elif isinstance(batch, dict):
        yield from _samples(batch['data_samples'] if 'data_samples' in batch else list(batch.values()))
    elif isinstance(batch, (list, tuple)):
        for value in batch:
            yield from _samples(value)
