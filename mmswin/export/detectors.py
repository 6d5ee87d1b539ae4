"""Detectors of mmdet as one program from a picture to boxes, labels, scores and masks.

mmdet's own ``predict`` cannot be recorded: it carries its results in Python objects and asks for their number on the way.
Here stands what it computes between the modules, in tensors alone, and of the modules everything is the model's own. What
a head computes otherwise than the classes named here is refused.
"""

import math
from typing import Any

import torch
from mmcv.ops import RoIAlign
from mmdet.models.dense_heads import RPNHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, SingleRoIExtractor, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.task_modules import AnchorGenerator, DeltaXYWHBBoxCoder
from torch import Tensor, nn

from mmswin.errors import RunError
from mmswin.export import operators
from mmswin.export.program import Graph, as_in

Size = tuple[int, int]
_ROI_METHODS = ('predict', 'predict_bbox', 'predict_mask', '_bbox_forward', '_mask_forward')
# How far a box may be enlarged or reduced: the coder's own default, which no head changes.
_MAX_LOG_RATIO = abs(math.log(16 / 1000))


class DetectorGraph(Graph):
    """A detector, for one picture of any size.

    Attributes:
        output_names: ``boxes`` (``n x 4`` float32, x1 y1 x2 y2 in pixels of the picture given), ``scores`` (``n``),
            ``labels`` (``n`` int64), and where there is a mask head ``masks`` (``n x S x S``, the probability in each
            cell of a grid over the box). The best comes first; ``n`` may be 0.
        facts: Thresholds that are part of the program.
    """

    output_names: tuple[str, ...] = ('boxes', 'scores', 'labels')
    dynamic = {2: 'height', 3: 'width'}

    def __init__(self, model: nn.Module, test_cfg: Any) -> None:
        super().__init__()
        self.model = model
        threshold, limit = float(test_cfg.get('score_thr', 0)), test_cfg.max_per_img
        self.facts = {'score_threshold': threshold, 'mask_threshold': None, 'max_per_image': limit}

    def onnx_operators(self) -> dict:
        return operators.onnx_operators()

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model.extract_feat(image))


def graph_of(model: nn.Module) -> DetectorGraph:
    """The program of a detector.

    Args:
        model: Of mmdet: with an RPN and the RoI heads of Faster, Mask, Cascade and Cascade Mask R-CNN, or of one stage
            with a head that predicts by anchors, as RetinaNet and ATSS do.

    Raises:
        RunError: It has a part that computes its results in another way.
    """
    if isinstance(model, TwoStageDetector):
        return _TwoStage(model)
    if isinstance(model, SingleStageDetector):
        return _OneStage(model)
    raise RunError(
        f'{type(model).__name__} cannot be exported as a whole: export knows Faster, Mask and Cascade R-CNN, RetinaNet, '
        'ATSS, and what inherits from them; --backbone writes the backbone alone'
    )


class _OneStage(DetectorGraph):
    def __init__(self, model: SingleStageDetector) -> None:
        as_in(model, SingleStageDetector, 'predict', 'extract_feat')
        head = model.bbox_head
        as_in(head, BaseDenseHead, 'predict', 'predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')
        _check_anchors(head)
        super().__init__(model, head.test_cfg)
        self.suppression = _Suppression(head.test_cfg, 'test_cfg')

    def heads(self, features: tuple[Tensor, ...], size: Size) -> tuple[Tensor, ...]:
        head = self.model.bbox_head
        boxes, scores, labels, _ = _candidates(head, features, size, head.test_cfg.get('score_thr', 0))
        kept = self.suppression(boxes, scores, labels)
        return boxes[kept], scores[kept], labels[kept]


class _TwoStage(DetectorGraph):
    def __init__(self, model: TwoStageDetector) -> None:
        as_in(model, TwoStageDetector, 'predict', 'extract_feat')
        rpn, roi = model.rpn_head, model.roi_head
        as_in(rpn, RPNHead, 'predict', 'predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')
        _check_anchors(rpn)
        if isinstance(roi, CascadeRoIHead):
            as_in(roi, CascadeRoIHead, *_ROI_METHODS, '_refine_roi')
        else:
            as_in(roi, StandardRoIHead, *_ROI_METHODS)
        super().__init__(model, roi.test_cfg)
        self.proposing = _Suppression(rpn.test_cfg, 'test_cfg.rpn')
        self.suppression = _Suppression(roi.test_cfg, 'test_cfg.rcnn')
        self.box_stages = _stages(roi.bbox_roi_extractor, roi.bbox_head)
        self.mask_stages = _stages(roi.mask_roi_extractor, roi.mask_head) if roi.with_mask else []
        if roi.with_shared_head:
            raise RunError(f'{type(roi).__name__} with shared_head cannot be exported: export knows RoI heads without')
        for _, head in self.box_stages:
            as_in(head, BBoxHead, 'predict_by_feat', '_predict_by_feat_single', 'regress_by_class')
            _check_coder(head)
            if not (head.with_cls and head.with_reg) or head.custom_cls_channels or head.custom_activation:
                raise RunError(
                    f'{type(head).__name__} with {type(head.loss_cls).__name__} cannot be exported: export knows box '
                    'heads that classify by softmax and refine boxes'
                )
        if self.mask_stages:
            for _, head in self.mask_stages:
                as_in(head, FCNMaskHead, 'predict_by_feat', '_predict_by_feat_single')
            self.output_names = (*self.output_names, 'masks')
            self.facts['mask_threshold'] = float(roi.test_cfg.mask_thr_binary)

    def heads(self, features: tuple[Tensor, ...], size: Size) -> tuple[Tensor, ...]:
        boxes, scores, _, levels = _candidates(self.model.rpn_head, features, size, None)
        proposals = boxes[self.proposing(boxes, scores, levels)]
        found = self._boxes(features, proposals, size)
        return (*found, self._masks(features, found[0], found[2])) if self.mask_stages else found

    def _boxes(self, features: tuple[Tensor, ...], rois: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
        total = 0
        for number, (extractor, head) in enumerate(self.box_stages, 1):
            logits, deltas = head(_roi_features(extractor, features, rois))
            total = total + logits
            if number < len(self.box_stages):
                label = logits[:, :-1].argmax(1)
                rois = _decode(head.bbox_coder, rois, _of_class(head, deltas, label), size)
        scores = (total / len(self.box_stages)).softmax(1)[:, :-1]
        number, labels = (scores > self.facts['score_threshold']).nonzero().unbind(1)
        scores = scores[number, labels]
        boxes = _decode(head.bbox_coder, rois[number], _of_class(head, deltas[number], labels), size)
        kept = self.suppression(boxes, scores, labels)
        return boxes[kept], scores[kept], labels[kept]

    def _masks(self, features: tuple[Tensor, ...], boxes: Tensor, labels: Tensor) -> Tensor:
        total = 0
        for extractor, head in self.mask_stages:
            logits = head(_roi_features(extractor, features, boxes))
            total = total + (logits[:, 0] if head.class_agnostic else _each(logits, labels)).sigmoid()
        return total / len(self.mask_stages)


class _Suppression:
    """mmcv's ``batched_nms`` as a head's ``test_cfg`` asks for it; gives the numbers of the boxes kept, best first."""

    def __init__(self, cfg: Any, where: str) -> None:
        nms, self.limit = dict(cfg.get('nms') or {'type': None}), cfg.max_per_img
        kind, threshold = nms.pop('type', 'nms'), nms.pop('iou_threshold', nms.pop('iou_thr', None))
        self.by_class = not nms.pop('class_agnostic', False)
        nms.pop('split_thr', None)  # from how many boxes on classes take turns, which changes no result
        if kind != 'nms' or threshold is None or nms or self.limit <= 0:
            raise RunError(
                f'{where} has nms={cfg.get("nms")} and max_per_img={self.limit}: what ONNX knows is '
                f"{where}=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100) with numbers of your own; with "
                'another type than before the model finds other objects, so test it, too'
            )
        self.threshold = float(threshold)

    def __call__(self, boxes: Tensor, scores: Tensor, groups: Tensor) -> Tensor:
        if self.by_class:  # each group of boxes beside the others; the zero stands for no boxes at all
            reach = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).amax(0) + 1
            boxes = boxes + (groups.to(boxes.dtype) * reach)[:, None]
        return operators.nms(boxes, scores, self.threshold, self.limit)


def _candidates(head: Any, features: tuple[Tensor, ...], size: Size, threshold: float | None) -> tuple[Tensor, ...]:
    """The best boxes of each level, of an RPN or a head of one stage: boxes, scores, labels, levels."""
    outputs, cfg = head(features), head.test_cfg
    shapes = [logits.shape[-2:] for logits in outputs[0]]
    priors = head.prior_generator.grid_priors(shapes, dtype=features[0].dtype, device=features[0].device)
    found = []
    for level, (prior, logits, deltas, *factor) in enumerate(zip(priors, *outputs)):
        logits = _rows(logits, head.cls_out_channels)
        scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(1)[:, :-1]
        classes = scores.shape[1]
        scores = scores.flatten()
        if cfg.get('nms_pre', -1) > 0:
            scores, best = scores.topk(torch.sym_min(scores.shape[0], cfg.nms_pre))
        else:
            best = torch.arange(scores.shape[0], device=scores.device)
        place = best // classes
        factor = _rows(factor[0], 1)[place, 0].sigmoid() if factor else torch.ones_like(scores)
        level = torch.full_like(best, level)
        found.append((prior[place], _rows(deltas, 4)[place], scores, factor, best % classes, level))
    prior, deltas, scores, factor, labels, levels = (torch.cat(column) for column in zip(*found))
    boxes = _decode(head.bbox_coder, prior, deltas, size)
    valid = None if threshold is None else scores > threshold
    if cfg.get('min_bbox_size', -1) >= 0:
        large = (boxes[:, 2:] - boxes[:, :2] > cfg.min_bbox_size).all(1)
        valid = large if valid is None else valid & large
    chosen = slice(None) if valid is None else valid.nonzero()[:, 0]
    return boxes[chosen], (scores * factor)[chosen], labels[chosen], levels[chosen]


def _rows(x: Tensor, columns: int) -> Tensor:
    """``1 x (anchors * columns) x H x W`` to ``(H * W * anchors) x columns``."""
    return x[0].permute(1, 2, 0).reshape(-1, columns)


def _decode(coder: DeltaXYWHBBoxCoder, boxes: Tensor, deltas: Tensor, size: Size) -> Tensor:
    """Boxes moved and stretched by ``n x 4`` deltas (R-CNN, appendix C)."""
    deltas = deltas * deltas.new_tensor(coder.stds) + deltas.new_tensor(coder.means)
    sides = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5 + sides * deltas[:, :2]
    half = sides * deltas[:, 2:].clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO).exp() * 0.5
    x1, y1, x2, y2 = torch.cat([centre - half, centre + half], 1).unbind(1)
    if coder.clip_border:
        x1, y1, x2, y2 = x1.clamp(0, size[1]), y1.clamp(0, size[0]), x2.clamp(0, size[1]), y2.clamp(0, size[0])
    return torch.stack([x1, y1, x2, y2], 1)


def _of_class(head: BBoxHead, deltas: Tensor, labels: Tensor) -> Tensor:
    """Of the deltas that a box head gives for each class those of one class for each box."""
    if head.reg_class_agnostic:
        return deltas
    return _each(deltas.unflatten(1, (-1, 4)), labels)


def _each(x: Tensor, labels: Tensor) -> Tensor:
    """``x[i, labels[i]]`` for each i."""
    places = labels.view(-1, *[1] * (x.dim() - 1)).expand(-1, 1, *x.shape[2:])
    return x.gather(1, places)[:, 0]


def _roi_features(extractor: SingleRoIExtractor, features: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
    """Each box's features from the level of the pyramid that fits its size (FPN, equation 1)."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    scale = area.sqrt() / extractor.finest_scale + 1e-6
    # Comparisons in place of a logarithm, which does not round alike everywhere.
    level = sum(((scale >= 2**step).long() for step in range(1, extractor.num_inputs)), torch.zeros_like(scale).long())
    level = torch.where(area > 0, level, -1)  # no features: zeros in mmcv, and nan in OpenVINO
    places, found = [], []
    for number, (layer, x) in enumerate(zip(extractor.roi_layers, features)):
        place = (level == number).nonzero()[:, 0]
        places.append(place)
        how = (*layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned)
        found.append(operators.roi_align(x, boxes[place], *how))
    out = features[0].new_zeros(boxes.shape[0], features[0].shape[1], *extractor.roi_layers[0].output_size)
    return out.index_put((torch.cat(places),), torch.cat(found))


def _stages(extractors: Any, heads: Any) -> list[tuple[SingleRoIExtractor, Any]]:
    """Extractors and heads of a cascade, or of a RoI head as a cascade of one."""
    cascade = isinstance(heads, nn.ModuleList)
    stages = list(zip(extractors, heads)) if cascade else [(extractors, heads)]
    for extractor, _ in stages:
        as_in(extractor, SingleRoIExtractor, 'forward', 'map_roi_levels')
        for layer in extractor.roi_layers:
            if not isinstance(layer, RoIAlign) or layer.pool_mode != 'avg':
                raise RunError(f'{layer} cannot be exported: export knows RoIAlign of means')
    return stages


def _check_anchors(head: Any) -> None:
    if type(head.prior_generator) is not AnchorGenerator or getattr(head.loss_cls, 'custom_cls_channels', False):
        raise RunError(
            f'{type(head).__name__} with {type(head.prior_generator).__name__} and {type(head.loss_cls).__name__} cannot '
            'be exported: export knows heads with anchors of AnchorGenerator'
        )
    _check_coder(head)


def _check_coder(head: Any) -> None:
    coder = head.bbox_coder
    if (
        type(coder) is not DeltaXYWHBBoxCoder
        or coder.add_ctr_clamp
        or getattr(head, 'predict_box_type', 'hbox') != 'hbox'
    ):
        raise RunError(
            f'{type(head).__name__} with {type(coder).__name__} cannot be exported: export knows DeltaXYWHBBoxCoder'
        )
