"""Test-time augmentation for instance masks: boxes merged by NMS, masks averaged where those boxes lie in each view.

mmdet's ``DetTTAModel`` merges boxes only, and what is left of them after an NMS in each view. Here the boxes of all views
go through one NMS in the original image first; then each view is asked for the mask of every box left, and the
probabilities are averaged before they are thresholded, as the authors of Mask R-CNN do (He et al., arXiv 1703.06870,
appendix A, "test-time augmentation"). mmdet is imported when a model is built, not with this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmswin.registry import MODELS

if TYPE_CHECKING:
    from mmdet.structures import DetDataSample

_FLIPPED_AXES = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}


@dataclass
class _View:
    """One augmentation of a batch of images: its feature maps (B x C x H x W each), and an entry for each image.

    ``semantic`` holds the features of a semantic branch, if there is one, by the name of an argument. ``boxes`` are N x 4
    or, with one box for each class, N x 4 C, in the original image; ``scores`` are N x (C + 1).
    """

    features: Sequence[Tensor]
    metas: list[dict[str, Any]]
    boxes: list[InstanceData]
    semantic: dict[str, Tensor] = field(default_factory=dict)


def masks_can_be_merged(detector: type, roi_head: type) -> bool:
    """Whether a detector predicts masks as mmdet's Mask R-CNN, Cascade Mask R-CNN or HTC do, which can be merged.

    A class that changes how masks are predicted (PointRend, mask scoring, ...) cannot.
    """
    from mmdet.models import CascadeRoIHead, HybridTaskCascadeRoIHead, StandardRoIHead, TwoStageDetector

    if getattr(detector, 'predict', None) is not TwoStageDetector.predict:
        return False
    steps = ('predict', 'predict_bbox', 'predict_mask', '_mask_forward')
    return any(
        all(getattr(roi_head, step, None) is getattr(base, step) for step in steps)
        for base in (StandardRoIHead, CascadeRoIHead, HybridTaskCascadeRoIHead)
    )


def to_original(boxes: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """Boxes (N x 4; x1, y1, x2, y2 in pixels) of a view in pixels of the original image."""
    return _flip_boxes(boxes, meta) / boxes.new_tensor(meta['scale_factor']).repeat(2)


def to_view(boxes: Tensor, meta: Mapping[str, Any]) -> Tensor:
    """Boxes (N x 4; x1, y1, x2, y2 in pixels) of the original image in pixels of a view."""
    return _flip_boxes(boxes * boxes.new_tensor(meta['scale_factor']).repeat(2), meta)


def _flip_boxes(boxes: Tensor, meta: Mapping[str, Any]) -> Tensor:
    from mmdet.structures.bbox import bbox_flip

    return bbox_flip(boxes, meta['img_shape'], meta['flip_direction']) if meta.get('flip') else boxes


@MODELS.register_module()
class InstanceTTAModel(BaseTTAModel):
    """Merges the boxes and the masks that a detector of mmdet finds in several views of an image.

    Boxes: those of all proposals of all views in the original image, through one NMS, at most ``max_per_img`` of them.
    Masks: the mask head of each view (a cascade's: the mean of its stages; HTC's: the last stage, which has seen the
    others) gives probabilities for the merged boxes; they are flipped back and averaged, then pasted into the original
    image and thresholded once. A detector without masks gets its finished boxes merged. With one view that is the
    original image, the result is that of the plain test.

    The feature maps of all views of a batch are kept until their masks are predicted (about 90 MB for an image of
    800 x 1333 with 256 channels in float32, a sixth more with a semantic branch); of the masks one sum of N x h x w is
    kept, with h = w = 28 in the recipes.

    Args:
        tta_cfg: ``nms``, as in a detector's ``test_cfg``, and ``max_per_img``.
        kwargs: As for mmengine's ``BaseTTAModel``: ``module``, the detector or its config.

    Raises:
        ValueError: The detector predicts masks in another way than Mask R-CNN, Cascade Mask R-CNN and HTC.
    """

    def __init__(self, tta_cfg: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tta_cfg = tta_cfg
        module = self.module
        if module.with_mask and not masks_can_be_merged(type(module), type(getattr(module, 'roi_head', None))):
            head = type(getattr(module, 'roi_head', module)).__name__
            raise ValueError(
                f'{type(self).__name__} merges the masks of Mask R-CNN, Cascade Mask R-CNN and HTC '
                f'(StandardRoIHead, CascadeRoIHead, HybridTaskCascadeRoIHead), and this {type(module).__name__} has {head}'
            )

    def test_step(self, data: dict | list | tuple) -> list[DetDataSample]:
        """Merged predictions of a batch.

        Args:
            data: Entries (``inputs``, ``data_samples``) of which each is a list over views of lists over images.

        Returns:
            One sample for each image, with ``pred_instances`` in the original image.
        """
        if not self.module.with_mask:
            return super().test_step(data)
        if not isinstance(data, Mapping):
            raise TypeError(f'expected a dict of inputs and data_samples, got {type(data).__name__}')
        number = len(data['inputs'])
        found = [self._detect({key: value[index] for key, value in data.items()}) for index in range(number)]
        views, (samples, *_) = zip(*found)
        results = [self._select(boxes) for boxes in zip(*(view.boxes for view in views))]
        self._add_masks(views, results)
        for sample, result in zip(samples, results, strict=True):
            sample.pred_instances = result
        return samples

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> list[DetDataSample]:
        """Merge finished predictions of boxes; the outer list is of images, the inner of views of one image."""
        for views in data_samples_list:
            for sample in views:
                # These boxes are at the scale of the original image already, but mirrored as their view is.
                meta = dict(sample.metainfo, img_shape=sample.ori_shape)
                sample.pred_instances.bboxes = _flip_boxes(sample.pred_instances.bboxes, meta)
            views[0].pred_instances = self._merge_boxes([sample.pred_instances for sample in views])
        return [views[0] for views in data_samples_list]

    def _detect(self, data: dict) -> tuple[_View, list[DetDataSample]]:
        """The boxes of one view, in the original image."""
        module = self.module
        data = module.data_preprocessor(data, False)
        samples = data['data_samples']
        features = module.extract_feat(data['inputs'])
        if samples[0].get('proposals') is None:
            proposals = module.rpn_head.predict(features, samples, rescale=False)
        else:
            proposals = [sample.proposals for sample in samples]
        metas = [sample.metainfo for sample in samples]
        head = module.roi_head
        semantic = {'semantic_feat': head.semantic_head(features)[1]} if getattr(head, 'with_semantic', False) else {}
        # Without a rule of its own the head gives the boxes and scores of all proposals.
        boxes = head.predict_bbox(features, metas, proposals, rcnn_test_cfg=None, rescale=False, **semantic)
        for result, meta in zip(boxes, metas, strict=True):
            shape = result.bboxes.shape
            result.bboxes = to_original(result.bboxes.reshape(-1, 4), meta).reshape(shape)
        return _View(features, metas, boxes, semantic), samples

    def _select(self, found: Sequence[InstanceData]) -> InstanceData:
        """Of one image's boxes and scores of all classes in several views, those that are left after one NMS."""
        from mmdet.models.layers import multiclass_nms

        some = [result for result in found if len(result)]
        if not some:
            none = found[0].bboxes.new_zeros(0, 4)
            return InstanceData(bboxes=none, scores=none[:, 0], labels=none[:, 0].long())
        boxes, scores = (torch.cat([getattr(result, name) for result in some]) for name in ('bboxes', 'scores'))
        lowest, nms = self.module.roi_head.test_cfg.score_thr, dict(self.tta_cfg['nms'])
        scored, labels = multiclass_nms(boxes, scores, lowest, nms, self.tta_cfg['max_per_img'])
        return InstanceData(bboxes=scored[:, :4], scores=scored[:, 4], labels=labels)

    def _merge_boxes(self, found: Sequence[InstanceData]) -> InstanceData:
        """Boxes of several views of one image, all in the original image, through one NMS."""
        from mmcv.ops import batched_nms

        boxes, scores, labels = (
            torch.cat([getattr(result, name) for result in found]) for name in ('bboxes', 'scores', 'labels')
        )
        if len(boxes):
            scored, kept = batched_nms(boxes, scores, labels, dict(self.tta_cfg['nms']))
            boxes, scores, labels = scored[:, :4], scored[:, 4], labels[kept]
        most = slice(self.tta_cfg['max_per_img'] if self.tta_cfg['max_per_img'] > 0 else None)  # -1: all
        return InstanceData(bboxes=boxes[most], scores=scores[most], labels=labels[most])

    def _add_masks(self, views: Sequence[_View], results: list[InstanceData]) -> None:
        """Predict the masks of merged boxes in every view and put their mean into the results."""
        labels = torch.cat([result.labels for result in results])
        head = self.module.roi_head
        mask_head = head.mask_head[-1] if isinstance(head.mask_head, nn.ModuleList) else head.mask_head
        # The boxes are in the original image already, so nothing is left to rescale. All classes share the one map.
        metas = [dict(meta, scale_factor=(1.0, 1.0)) for meta in views[0].metas]
        means: Sequence[Tensor | None] = [None] * len(results)
        if len(labels):
            mean = sum(self._mask_probabilities(view, results, labels) for view in views) / len(views)
            classes = 1 if mask_head.class_agnostic else mask_head.num_classes
            means = mean.expand(-1, classes, -1, -1).split([len(result) for result in results])
        mask_head.predict_by_feat(means, results, metas, rcnn_test_cfg=head.test_cfg, rescale=True, activate_map=True)

    def _mask_probabilities(self, view: _View, results: Sequence[InstanceData], labels: Tensor) -> Tensor:
        """Mask probabilities (N x 1 x h x w, not mirrored) of the boxes of all images in one view."""
        from mmdet.structures.bbox import bbox2roi

        rois = bbox2roi([to_view(result.bboxes, meta) for result, meta in zip(results, view.metas, strict=True)])
        chosen = torch.arange(len(labels), device=labels.device)
        stages = self._mask_logits(view, rois)
        probabilities = sum(
            (logits if logits.shape[1] == 1 else logits[chosen, labels][:, None]).sigmoid() for logits in stages
        ) / len(stages)
        parts = probabilities.split([len(result) for result in results])
        upright = [
            part.flip(_FLIPPED_AXES[meta['flip_direction']]) if meta.get('flip') else part
            for part, meta in zip(parts, view.metas, strict=True)
        ]
        return torch.cat(upright)

    def _mask_logits(self, view: _View, rois: Tensor) -> list[Tensor]:
        """Logits (N x C x h x w) of the stages whose mean is the mask."""
        from mmdet.models import HybridTaskCascadeRoIHead

        head, features = self.module.roi_head, view.features
        if isinstance(head, HybridTaskCascadeRoIHead):
            semantic = view.semantic.get('semantic_feat')
            return head._mask_forward(-1, features, rois, semantic_feat=semantic, training=False)['mask_preds']
        if isinstance(head.mask_head, nn.ModuleList):
            return [head._mask_forward(stage, features, rois)['mask_preds'] for stage in range(len(head.mask_head))]
        return [head._mask_forward(features, rois)['mask_preds']]
