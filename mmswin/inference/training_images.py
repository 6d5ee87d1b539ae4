"""Pictures of a data set as training gets them, with their truth, so that wrong labels are seen before a run."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope
from torch import Tensor, nn

from mmswin.checkpoints.mmengine_loader import load_from_mmswin
from mmswin.data.config_facts import model_num_classes
from mmswin.engine import preflight
from mmswin.errors import RunError, plain_message
from mmswin.inference import drawing
from mmswin.inference.results import Instances, Mask, Result


def training_images(
    cfg: Config, number: int = 20, split: str = 'train', seed: int = 0, checkpoint: str | None = None
) -> Iterator[Result]:
    """Pictures after augmentation with the truth in place of a prediction.

    Where patches are masked (SimMIM), a picture is shown masked and whole side by side.

    Args:
        cfg: The configuration.
        number: How many, spread evenly over the data set.
        split: ``'train'``, ``'val'`` or ``'test'``.
        seed: Of the augmentation; another one shows the same pictures otherwise.
        checkpoint: Of a network that SimMIM pretrains: what it makes of the masked patches is shown in between.

    Raises:
        CheckpointError: The checkpoint is not for the model.
        RunError: There is a checkpoint, and no patches are masked; or the split has no data set, or that cannot be built or read.
    """
    loader = cfg.get(f'{split}_dataloader')
    if not loader:
        raise RunError(f'the config has no {split}_dataloader')
    model = None
    if checkpoint is not None:
        model = preflight.model_with_weights(cfg, load_from_mmswin(checkpoint), checkpoint).eval()
    random.seed(seed)
    np.random.seed(seed)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        try:
            dataset = DATASETS.build(loader.dataset)
            dataset.full_init()
        except Exception as error:  # the libraries', of any kind
            raise RunError(f'the data set of {split}_dataloader cannot be built: {plain_message(error)}') from error
        numbers = model_num_classes(cfg.get('model') or {}).values()
        numbered = (f'class {i}' for i in range(max(numbers, default=0)))
        classes = tuple(dataset.metainfo.get('classes') or numbered)
        colours = drawing.colours(max(len(classes), 1), dataset.metainfo.get('palette'))
        for index in np.linspace(0, len(dataset) - 1, min(number, len(dataset))).astype(int):
            try:
                item = dataset[int(index)]
            except Exception as error:  # the libraries', of any kind
                raise RunError(
                    f'picture {index} of {split}_dataloader cannot be read: {plain_message(error)}'
                ) from error
            inputs = item['inputs']
            if not isinstance(inputs, Tensor):
                raise RunError(f'{split}_dataloader gives several views of a picture, and browse shows one of each')
            if 'mask' in item['data_samples']:
                inputs = _side_by_side(inputs, item['data_samples'], model)
            elif model is not None:
                raise RunError(
                    f'--checkpoint {checkpoint}: no patches are masked here, so there is nothing to reconstruct'
                )
            yield _result(inputs, item['data_samples'], int(index), classes, colours)


@torch.no_grad()
def _side_by_side(inputs: Tensor, sample: Any, model: nn.Module | None) -> Tensor:
    """A picture with masked patches in grey, with what a network has in their place, and whole; ``3 x H x 3 W``."""
    mask = torch.as_tensor(sample.mask)
    rows, columns = (side // cells for side, cells in zip(inputs.shape[1:], mask.shape))
    hidden = mask.repeat_interleave(rows, 0).repeat_interleave(columns, 1).bool()
    shown = [torch.where(hidden, 128, inputs)]
    if model is not None:
        preprocessor = model.data_preprocessor
        seen = preprocessor({'inputs': inputs[None], 'data_samples': [sample]})['inputs']
        made = model.neck(model.backbone(seen, mask[None])[0])[0] * preprocessor.std + preprocessor.mean
        made = made.flip(0) if preprocessor._channel_conversion else made
        shown.append(torch.where(hidden, made.round().clamp(0, 255).to(inputs.dtype), inputs))
    return torch.cat([*shown, inputs], dim=2)


def _result(inputs: Any, sample: Any, index: int, classes: Sequence[str], colours: Sequence) -> Result:
    image = np.ascontiguousarray(inputs.permute(1, 2, 0).numpy().clip(0, 255).astype(np.uint8))
    path = sample.metainfo.get('img_path')
    result = Result(image, f'{index:06}_{Path(path).stem if path else "image"}', classes, colours, path)
    if 'gt_sem_seg' in sample and 'gt_instances' not in sample:
        labels = sample.gt_sem_seg.data[0].numpy()
        kind = np.uint8 if len(classes) <= 255 else np.uint16
        result.label_map = np.where(labels < len(classes), labels, np.iinfo(kind).max).astype(kind)
        return result
    if 'gt_instances' not in sample or 'bboxes' not in sample.gt_instances:
        result.scores = np.zeros(len(classes), np.float32)
        if 'gt_label' in sample:  # else pictures alone, as SimMIM has them
            result.scores[sample.gt_label.numpy()] = np.inf  # drawn without a number
        return result
    truth = sample.gt_instances
    boxes = getattr(truth.bboxes, 'tensor', truth.bboxes).numpy().astype(np.float32).reshape(-1, 4)
    masks = [Mask.cut(mask) for mask in truth.masks.to_ndarray()] if 'masks' in truth else None
    # Without scores, which the truth has none of.
    result.instances = Instances(boxes, np.full(len(boxes), np.nan, np.float32), truth.labels.numpy(), masks)
    return result
