"""Where in a picture a prediction comes from: class activation maps of the stages of a backbone.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391): a stage's map, its channels weighted by the mean gradient of one logit.
HiResCAM (Draelos et al. 2020, arXiv 2011.08891) and LayerCAM (Jiang et al. 2021) weight each place by its own gradient, which
suits a box better than the mean over a picture.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn

from mmswin.backbones.swin import SwinStage
from mmswin.errors import RunError
from mmswin.inference import drawing
from mmswin.inference.predictor import Predictor
from mmswin.inference.results import Result
from mmswin.inference.torch_backend import TorchBackend

# From activations and gradients, both H x W x C, to H x W.
METHODS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'grad-cam': lambda values, gradients: (values * gradients.mean((0, 1))).sum(-1),
    'hires-cam': lambda values, gradients: (values * gradients).sum(-1),
    'layer-cam': lambda values, gradients: (values * gradients.clamp(min=0)).sum(-1),
}
_SIDE = 480


@dataclass
class Explanation:
    """What one prediction rests on.

    Attributes:
        title: What is explained, such as ``cat 97, box``.
        result: The prediction, with that alone.
        maps: Stage to ``H x W`` float32 of the picture's size, from 0 to 1 where it is largest; 0 everywhere if nothing
            in the stage speaks for the prediction.
    """

    title: str
    result: Result
    maps: dict[str, np.ndarray]

    def draw(self) -> np.ndarray:
        """The prediction and the maps side by side, named, with a colour bar; BGR, uint8."""
        height, width = self.result.image.shape[:2]
        zoom = _SIDE / max(height, width)
        size = max(1, round(width * zoom)), max(1, round(height * zoom))
        image = cv2.resize(drawing.canvas(self.result.image)[0], size, interpolation=cv2.INTER_AREA)
        rows, columns = -(-(1 + len(self.maps)) // 3), min(3, 1 + len(self.maps))
        figure = Figure((columns * (size[0] / 100 + 0.5), rows * (size[1] / 100 + 0.4)), layout='constrained')
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        panels[0].imshow(cv2.resize(self.result.draw(), size, interpolation=cv2.INTER_AREA)[..., ::-1])
        panels[0].set_title(self.title, loc='left', parse_math=False)
        for panel, (name, values) in zip(panels[1:], self.maps.items()):
            panel.imshow(image[..., ::-1])
            colours = panel.imshow(cv2.resize(values, size), 'turbo', vmin=0, vmax=1, alpha=0.55)
            figure.colorbar(colours, ax=panel, ticks=(0, 1))
            panel.set_title(name if values.any() else f'{name}: nothing', loc='left', parse_math=False)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., 2::-1].copy()


def explain(
    predictor: Predictor,
    source: Any,
    classes: Sequence[str] | None = None,
    number: int = 3,
    target: str = 'box',
    stages: Sequence[int] | None = None,
    method: str = 'grad-cam',
    score: float = 0.3,
) -> Iterator[Explanation]:
    """Explain the best objects of a picture, its commonest classes, or the likeliest ones of the whole.

    Args:
        predictor: By :func:`mmswin.load`.
        source: One picture, as the predictor takes it.
        classes: Explain these alone.
        number: How many objects, classes of a label map, or classes of a whole picture.
        target: Of objects: ``'box'``, the logit of the box's class, or ``'mask'``, the mean logit of its mask.
        stages: Stages of the backbone, from 1; by default all.
        method: One of :data:`METHODS`.
        score: Objects below it are not explained.

    Raises:
        RunError: Nothing was found, or the head is of a kind that gives no such logit.
    """
    if method not in METHODS or target not in ('box', 'mask'):
        raise RunError(f'method={method!r}, target={target!r}: methods are {", ".join(METHODS)}, targets box and mask')
    backend = predictor.backend
    if not isinstance(backend, TorchBackend):
        raise RunError('an exported program has no gradients: explain the configuration and checkpoint that it is from')
    if target == 'mask' and not getattr(backend.model, 'with_mask', False):
        raise RunError(f"target='mask': {type(backend.model).__name__} predicts no masks of objects; leave it out")
    results = predictor(source, score=score)
    if results.total is not None and results.total > 1:
        raise RunError(f'the source has {results.total} pictures, and one is explained: name that')
    result = next(results, None)
    if result is None:
        raise RunError(f'{results.skipped[0][0]}: {results.skipped[0][1]}')
    result = result if classes is None else result.filter(classes=classes)
    if not len(result):
        raise RunError(f'nothing to explain is found in {result.path or "the picture"}: try a lower score than {score}')
    prepared = backend.prepare([result.image])
    if result.scores is not None:  # of what its pipeline cuts off, a classifier sees nothing
        result = replace(result, image=np.ascontiguousarray(prepared[0]['inputs'].permute(1, 2, 0).numpy()))
    data = backend.model.data_preprocessor(pseudo_collate(prepared), False)
    meta = data['data_samples'][0].metainfo
    # Of the picture: where all weights are frozen, nothing else has a gradient.
    inputs = data['inputs'].detach().requires_grad_()
    with torch.enable_grad():
        outputs, features = stage_outputs(backend.model, inputs)
        chosen = sorted(outputs) if stages is None else list(stages)
        if not set(chosen) <= set(outputs):
            raise RunError(f'stages={chosen}: the backbone gives the stages {sorted(outputs)}')
        for title, part, logit in _targets(backend.model, features, result, meta, target, number):
            gradients = torch.autograd.grad(logit, [outputs[i] for i in chosen], retain_graph=True, allow_unused=True)
            maps = {}
            for i, gradient in zip(chosen, gradients):
                values = outputs[i].detach()[0]
                gradient = torch.zeros_like(values) if gradient is None else gradient[0]
                found = METHODS[method](values, gradient).clamp(min=0).float().cpu().numpy()
                maps[f'stage {i}, {found.shape[0]} x {found.shape[1]}'] = _fit(
                    found, inputs.shape[2:], meta['img_shape'][:2], result.image.shape[:2]
                )
            yield Explanation(title, part, maps)


def stage_outputs(model: nn.Module, inputs: Tensor) -> tuple[dict[int, Tensor], Sequence[Tensor]]:
    """What the stages of a backbone give, ``1 x H x W x C``, from 1, and what the heads get.

    A Swin's are taken before the output norm, where they also lead to the later stages: behind it, a stage on which a box
    does not lie has no part in it, and a stage that is no output of the backbone has none. Those of other backbones are
    their outputs.
    """
    kept: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for i, stage in enumerate(getattr(model.backbone, 'layers', ()), 1):
            if isinstance(stage, SwinStage):
                keep = stage.register_forward_hook(lambda _, args, outs, i=i: kept.__setitem__(i, outs[0]))
                hooks.enter_context(keep)
        hooks.enter_context(model.backbone.register_forward_hook(lambda _, args, outs: kept.setdefault(0, outs)))
        features = model.extract_feat(inputs)
    outputs = kept.pop(0)
    return kept or {i + 1: output.permute(0, 2, 3, 1) for i, output in enumerate(outputs)}, features


def _targets(
    model: nn.Module, features: Sequence[Tensor], result: Result, meta: dict, target: str, number: int
) -> Iterator[tuple[str, Result, Tensor]]:
    """What is to be explained: title, the result with that alone, and the logit."""
    if result.scores is not None:
        logits = model.head(features)[0]
        for label in result.best_labels(number):
            title = f'{result.classes[label]} {100 * result.scores[label]:.0f}'
            yield title, result.filter(classes=[label]), logits[label]
        return
    if result.instances is None:
        logits = _segment(model, features)
        winner = logits.argmax(0)
        for name in list(result.counts())[:number]:
            label = list(result.classes).index(name)
            wins = winner == label
            yield name, result.filter(classes=[name]), logits[label][wins if wins.any() else ...].mean()
        return
    scale = np.tile(np.array(meta.get('scale_factor', (1.0, 1.0))[:2], np.float32), 2)
    for i in range(min(number, len(result.instances))):
        one = result.instances[[i]]
        box = torch.from_numpy(one.boxes * scale).to(features[0].device)
        label = int(one.labels[0])
        try:
            logit = (_box if target == 'box' else _mask)(model, features, box, label)
        except (AttributeError, TypeError, IndexError) as error:
            raise RunError(
                f'{type(model).__name__} with {type(getattr(model, "roi_head", None) or model.bbox_head).__name__} gives '
                f'no logit of a {target} that is given: this is for Faster, Mask and Cascade R-CNN and for dense heads'
            ) from error
        yield f'{result.classes[label]} {100 * one.scores[0]:.0f}, {target}', replace(result, instances=one), logit


def _segment(model: nn.Module, features: Sequence[Tensor]) -> Tensor:
    """``classes x h x w`` logits."""
    heads = model.decode_head if isinstance(model.decode_head, nn.ModuleList) else [model.decode_head]
    logits = heads[0](features)
    for head in heads[1:]:
        logits = head(features, logits)
    return logits[0] if logits.shape[1] > 1 else torch.cat([-logits[0], logits[0]])


def _last(module: nn.Module) -> nn.Module:
    return module[-1] if isinstance(module, nn.ModuleList) else module


def _box(model: nn.Module, features: Sequence[Tensor], box: Tensor, label: int) -> Tensor:
    if hasattr(model, 'roi_head'):
        pooled = _pooled(_last(model.roi_head.bbox_roi_extractor), features, box)
        if model.roi_head.with_shared_head:
            pooled = model.roi_head.shared_head(pooled)
        return _last(model.roi_head.bbox_head)(pooled)[0][0, label]
    # A dense head: the largest logit of the class among the places inside the box, which holds one of the finest map at least.
    best, strides = [], model.bbox_head.prior_generator.strides
    centre, half = (box[0, :2] + box[0, 2:]) / 2, (box[0, 2:] - box[0, :2]) / 2
    half = torch.maximum(half, box.new_tensor(strides[0]) / 2)
    for scores, (step_x, step_y) in zip(model.bbox_head(features)[0], strides):
        rows, columns = scores.shape[2:]
        x = (torch.arange(columns, device=box.device) + 0.5) * step_x
        y = (torch.arange(rows, device=box.device) + 0.5) * step_y
        inside = ((y - centre[1]).abs() <= half[1])[:, None] & ((x - centre[0]).abs() <= half[0])
        of_class = scores[0].reshape(-1, model.bbox_head.cls_out_channels, rows, columns)[:, label]
        best.append(of_class[:, inside].flatten())
    return torch.cat(best).max()


def _mask(model: nn.Module, features: Sequence[Tensor], box: Tensor, label: int) -> Tensor:
    head = _last(model.roi_head.mask_head)
    logits = head(_pooled(_last(model.roi_head.mask_roi_extractor), features, box))[0]
    logits = logits[label if len(logits) > 1 else 0]
    inside = logits > 0
    return logits[inside if inside.any() else ...].mean()


def _pooled(extractor: nn.Module, features: Sequence[Tensor], box: Tensor) -> Tensor:
    return extractor(features[: extractor.num_inputs], torch.cat([box.new_zeros(1, 1), box], 1))


def _fit(values: np.ndarray, padded: Sequence[int], shape: Sequence[int], size: Sequence[int]) -> np.ndarray:
    """A stage's map, which covers the padded input and more, in the picture's size and from 0 to 1."""
    # Tokens have whole strides, powers of two; the last ones lie over the border.
    height, width = (n * 2 ** math.ceil(math.log2(side / n)) for n, side in zip(values.shape, padded))
    values = cv2.resize(values, (width, height))[: shape[0], : shape[1]]
    values = cv2.resize(values, (size[1], size[0])).clip(0)
    return values / values.max() if values.max() > 0 else values
