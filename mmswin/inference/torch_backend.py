"""A model of mmdet, mmseg or mmpretrain as it was trained, with the test pipeline of its configuration."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from torch import nn

from mmswin.checkpoints import mmengine_loader
from mmswin.checkpoints.mmengine_loader import load_from_mmswin
from mmswin.data.config_facts import build_dataset, dicts_in, leaf_datasets, model_num_classes, short_name
from mmswin.engine import configure, preflight
from mmswin.engine.precision import autocast_type, mixed_precision
from mmswin.errors import RunError, plain_message
from mmswin.inference.results import Instances, Mask, Scores


class TorchBackend:
    """See :class:`mmswin.inference.predictor.Backend`.

    Args:
        model: With its weights, in evaluation mode.
        cfg: Its configuration.
        meta: What its checkpoint says of the data that it was trained on.

    Raises:
        RunError: The configuration has no test pipeline that begins with a picture file.
    """

    def __init__(self, model: nn.Module, cfg: Config, meta: Mapping[str, Any]) -> None:
        self.model, self.cfg = model, cfg
        self.scope = cfg.get('default_scope') or 'mmengine'
        self.segments = hasattr(model, 'decode_head')
        self.classes, self.palette = _names(cfg, meta)
        steps = pipeline_at_test(cfg)
        if not steps or short_name(steps[0].get('type')) != 'LoadImageFromFile':
            raise RunError(
                'prediction needs the pipeline of test_dataloader (or val_dataloader), and that has to begin with '
                f"dict(type='LoadImageFromFile'): it has {[step.get('type') for step in steps]}"
            )
        self.reading = {'color_type': steps[0].get('color_type', 'color'), 'backend': steps[0].get('imdecode_backend')}
        self._to_float = bool(steps[0].get('to_float32'))
        # The truth, which there is none of here.
        kept = [step for step in steps[1:] if not short_name(step.get('type')).endswith('Annotations')]
        if any(short_name(step.get('type')) == 'TestTimeAug' for step in dicts_in(kept)):
            raise RunError("prediction takes one view of a picture, and the test pipeline has type='TestTimeAug'")
        with DefaultScope.overwrite_default_scope(self.scope):
            self._pipeline = Compose(kept)

    @classmethod
    @mmengine_loader.trusting()
    def load(cls, config, checkpoint, device, cfg_options, trust_checkpoint) -> 'TorchBackend':
        """See :func:`mmswin.inference.load`."""
        cfg = configure.load_config(str(config), cfg_options, None)
        if cfg.get('train_dataloader') and not pipeline_at_test(cfg) and not model_num_classes(cfg.get('model') or {}):
            raise RunError(
                f'{config} pretrains and predicts nothing: mmswin browse --checkpoint FILE shows what it learned'
            )
        if trust_checkpoint:
            mmengine_loader.trust(checkpoint)
        loaded = load_from_mmswin(checkpoint)
        model = preflight.model_with_weights(cfg, loaded, str(checkpoint))
        device = device or get_device()
        try:
            model = revert_sync_batchnorm(model).to(device).eval()
        except (RuntimeError, AssertionError) as error:
            raise RunError(f'device {device!r} cannot be used here: {plain_message(error)}') from error
        return cls(model, cfg, loaded.get('meta') or {})

    def prepare(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Pictures through the pipeline: what the model's ``test_step`` takes, before it is collated."""
        prepared = []
        for image in images:
            size = image.shape[:2]
            image = image.astype(np.float32) if self._to_float else image
            facts = {'img': image, 'img_shape': size, 'ori_shape': size, 'img_path': '', 'img_id': 0}
            prepared.append(self._pipeline({**facts, 'seg_fields': [], 'reduce_zero_label': False}))
        return prepared

    def __call__(self, images: Sequence[np.ndarray], amp: str | None = None, scores: bool = False) -> list:
        """See :class:`mmswin.inference.predictor.Backend`."""
        dtype = autocast_type(amp) if amp else None
        found: list[Any] = []
        with torch.no_grad(), DefaultScope.overwrite_default_scope(self.scope):
            for group in self._groups(self.prepare(images)):
                data = pseudo_collate(group)
                with mixed_precision(self.model, dtype) if dtype else nullcontext():
                    samples = self.model.test_step(data)
                found += [self._found(one, scores) for one in samples]
        return found

    def _groups(self, prepared: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
        """Those that may go together: mmdet pads to a common size, mmseg and mmpretrain take one size at a time."""
        if not self.segments and self.scope != 'mmpretrain':
            yield prepared
            return
        for _, group in groupby(prepared, key=lambda one: one['inputs'].shape):
            yield list(group)

    def _found(self, sample: Any, scores: bool) -> Any:
        if self.segments:
            return self._labels(sample, scores)
        if 'pred_score' in sample:
            return Scores(sample.pred_score.detach().float().cpu().numpy())
        found = sample.get('pred_instances')
        if found is None or 'bboxes' not in found:
            raise RunError(
                f'{type(self.model).__name__} predicts {", ".join(sample.keys()) or "nothing"}: prediction is for '
                'detection, instance segmentation, semantic segmentation and classification'
            )
        return instances_of(found)

    def _labels(self, sample: Any, scores: bool) -> np.ndarray:
        if not scores:
            return sample.pred_sem_seg.data[0].cpu().numpy().astype(np.min_scalar_type(len(self.classes)))
        values = sample.seg_logits.data.float().cpu()
        if len(values) == 1:  # a probability, which mmseg compares with a threshold
            head = self.model.decode_head
            threshold = getattr(head[-1] if isinstance(head, nn.ModuleList) else head, 'threshold', 0.5)
            values = torch.cat([torch.full_like(values, threshold), values])
        return values.numpy()


def instances_of(found: Any) -> Instances:
    """The ``pred_instances`` of mmdet."""
    boxes, scores, labels = (found[name].detach().cpu() for name in ('bboxes', 'scores', 'labels'))
    masks = [Mask.cut(np.asarray(torch.as_tensor(mask).cpu())) for mask in found.masks] if 'masks' in found else None
    return Instances(boxes.float().numpy(), scores.float().numpy(), labels.numpy(), masks).sorted()


def pipeline_at_test(cfg: Config) -> list[dict[str, Any]]:
    """The steps of test_dataloader, or of val_dataloader where there is none; none without a data set."""
    loader = next((cfg[key] for key in ('test_dataloader', 'val_dataloader') if cfg.get(key)), {})
    leaves = [leaf for _, leaf in leaf_datasets(loader.get('dataset'), '')]
    return list(leaves[0].get('pipeline') or []) if leaves else []


def _names(cfg: Config, meta: Mapping[str, Any]) -> tuple[tuple[str, ...], Any]:
    """Names and colours of the classes: the checkpoint's if they are as many as the model has, else the data set's."""
    known = [{str(key).lower(): value for key, value in (meta.get('dataset_meta') or meta).items()}]
    for key in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        for _, dataset in leaf_datasets((cfg.get(key) or {}).get('dataset'), ''):
            try:
                known.append(dict(build_dataset(dataset, cfg.get('default_scope')).metainfo))
            except Exception:  # data that are elsewhere: names are all that is wanted here
                continue
    numbers = list(model_num_classes(cfg.model).values())
    for one in known:
        names = one.get('classes')
        names = (names,) if isinstance(names, str) else names
        if isinstance(names, (list, tuple)) and (len(names) in numbers or not numbers):
            same = [other.get('palette') for other in known if tuple(other.get('classes') or ()) == tuple(names)]
            return tuple(map(str, names)), next((palette for palette in same if palette), None)
    if not numbers:
        raise RunError(
            'the classes of the model are not known: write metainfo=dict(classes=(...)) into test_dataloader'
        )
    return tuple(f'class {i}' for i in range(max(numbers))), None
