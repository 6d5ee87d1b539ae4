"""Masks for RepPoints V2 by conditional convolutions (Tian et al., CondInst, arXiv 2003.05664).

No paper describes Mask RepPoints V2; it follows the model that the authors of Swin released. The detector is mmdet's
``CondInst``.
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads.condinst_head import CondInstMaskHead
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmswin.dense_heads.reppoints_v2_head import RepPointsV2Head
from mmswin.ops.autocast import autocast_to
from mmswin.registry import MODELS


def mask_centers(masks: Tensor, boxes: Tensor) -> Tensor:
    """Centroids (N x 2; x, y in pixels) of masks (N x H x W, 0 or 1); of the box where a mask is empty."""
    total = masks.sum((1, 2)).to(boxes)
    centers = [
        (masks.sum(axis).to(boxes) * torch.arange(masks.shape[3 - axis], device=boxes.device)).sum(1) / total
        for axis in (1, 2)
    ]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    return torch.stack(centers, 1).where(total[:, None] > 0, middles)


@MODELS.register_module()
class MaskRepPointsV2Head(RepPointsV2Head):
    """RepPoints V2 whose class branch also gives the weights of each object's mask convolutions.

    Assigners go by the masks' centroids. An object lies where the mean of its nine first points is.

    Args:
        args: As for :class:`RepPointsV2Head`.
        num_params: Weights of an object's convolutions, those of the mask head.
        kwargs: As for :class:`RepPointsV2Head`.
    """

    def __init__(self, *args: Any, num_params: int = 189, **kwargs: Any) -> None:
        self.num_params = num_params
        super().__init__(*args, **kwargs)
        self._samples: list = []
        self._positive_infos: list[InstanceData] = []

    def _init_layers(self) -> None:
        super()._init_layers()
        self.controller = nn.Conv2d(self.point_feat_channels, self.num_params, 3, padding=1)

    def classify(self, cls_feat: Tensor) -> tuple[Tensor, ...]:
        """Class logits and weights of mask convolutions."""
        return (*super().classify(cls_feat), self.controller(cls_feat))

    def loss_by_feat(
        self, cls_scores: list[Tensor], param_preds: list[Tensor], pts_preds_init: list[Tensor], *others: Any
    ) -> dict[str, Tensor | list[Tensor]]:
        """Losses of boxes; what the mask head needs is then in :meth:`get_positive_infos`."""
        *maps, instances, metas, ignored = others
        centered = [
            InstanceData(
                bboxes=image.bboxes,
                labels=image.labels,
                centers=mask_centers(image.masks.to_tensor(torch.bool, image.bboxes.device), image.bboxes),
            )
            for image in instances
        ]
        losses = super().loss_by_feat(cls_scores, pts_preds_init, *maps, centered, metas, ignored)
        self._positive_infos = []
        places, strides = self._places(pts_preds_init)
        for image, (places_of, objects) in enumerate(self._samples):
            params, points, steps = (
                torch.cat([x[image].flatten(1).t() for x in maps])[places_of] for maps in (param_preds, places, strides)
            )
            info = InstanceData(param_preds=params, points=points, strides=steps[:, 0], pos_assigned_gt_inds=objects)
            self._positive_infos.append(info)
        return losses

    def _refine_targets(self, candidates: list, flags: list, *instances: Any) -> tuple:
        *targets, samples = self.get_targets(
            candidates, flags, *instances, stage='refine', return_sampling_results=True
        )
        # Samples are counted among the valid places, of which mmdet has joined the flags of all levels.
        self._samples = [
            (valid.nonzero()[:, 0][sample.pos_inds], sample.pos_assigned_gt_inds)
            for valid, sample in zip(flags, samples)
        ]
        return tuple(targets)

    def get_positive_infos(self) -> list[InstanceData]:
        """For each image of the last loss, ``param_preds``, ``points``, ``strides`` and object of its positives."""
        infos, self._positive_infos, self._samples = self._positive_infos, [], []
        return infos

    def _places(self, pts_preds_init: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of where objects lie (B x 2 x H x W; x, y in pixels), and of strides (B x 1 x H x W).

        Unlike the points of boxes, they count from the middle of a cell.
        """
        sizes = [tuple(points.shape[2:]) for points in pts_preds_init]
        centers = self.prior_generator.grid_priors(sizes, pts_preds_init[0].dtype, pts_preds_init[0].device)
        places = [
            torch.stack([points[:, 1::2].mean(1), points[:, 0::2].mean(1)], 1) * stride
            + (center.t().unflatten(1, size) + stride / 2)
            for points, center, size, stride in zip(pts_preds_init, centers, sizes, self.point_strides)
        ]
        strides = [torch.full_like(place[:, :1], stride) for place, stride in zip(places, self.point_strides)]
        return places, strides

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        param_preds: list[Tensor],
        pts_preds_init: list[Tensor],
        *maps: Any,
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Boxes of a batch, each with its ``param_preds``, ``points`` and ``strides`` for the mask head."""
        places, strides = self._places(pts_preds_init)
        fields = dict(param_preds=param_preds, points=places, strides=strides)
        results = super().predict_by_feat(cls_scores, pts_preds_init, *maps, **kwargs, fields=fields)
        for result in results:
            result.strides = result.strides[:, 0]
        return results


@MODELS.register_module()
class AuxiliaryMaskHead(CondInstMaskHead):
    """mmdet's ``CondInstMaskHead`` whose first layer is trained to give the mask as well.

    An object's weights are those of the three layers, and behind them those of two 1x1 convolutions to a mask: of the
    input, which the released model has but does not train, and of the first layer's output.

    Args:
        auxiliary_weight: Weight of the loss of the first layer's mask.
        max_masks_to_train: At most so many objects of a batch, at random; -1 for all.
        kwargs: As for mmdet's ``CondInstMaskHead``, without ``topk_masks_per_img``.

    Raises:
        ValueError: ``topk_masks_per_img`` is given, which would choose by scores that this head does not have.
    """

    def __init__(self, *, auxiliary_weight: float = 0.6, max_masks_to_train: int = 500, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.topk_masks_per_img != -1:
            raise ValueError(f'topk_masks_per_img={self.topk_masks_per_img}: leave it out, and give max_masks_to_train')
        self.auxiliary_weight = auxiliary_weight
        self.max_in_batch = max_masks_to_train

    def _init_layers(self) -> None:
        super()._init_layers()
        self.auxiliary_nums = [self.in_channels + 2, self.feat_channels, 1, 1]
        self.num_params += sum(self.auxiliary_nums)

    def parse_dynamic_params(self, params: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Weights and biases of the layers, then of the first layer's mask; ``params`` is N x ``num_params``."""
        number = len(params)
        own, _, weight, _, bias = params.split([self.num_params - sum(self.auxiliary_nums), *self.auxiliary_nums], 1)
        weights, biases = super().parse_dynamic_params(own)
        return [*weights, weight.reshape(number, -1, 1, 1)], [*biases, bias.reshape(number)]

    def dynamic_conv_forward(
        self, features: Tensor, weights: list[Tensor], biases: list[Tensor], num_insts: int
    ) -> Tensor:
        """Logits 1 x N x H x W; in training, and for a loss, 1 x 2N x H x W, the first N those of the first layer."""
        with autocast_to(features.device.type, None):  # coordinates need more than 8 bits
            *weights, weight = weights
            *biases, bias = biases
            final = super().dynamic_conv_forward(features, weights, biases, num_insts)
            if not self.training:
                return final
            hidden = F.conv2d(features, weights[0], biases[0], groups=num_insts).relu()
            return torch.cat([F.conv2d(hidden, weight, bias, groups=num_insts), final], 1)

    def forward_single(self, mask_feat: Tensor, positive_info: InstanceData) -> tuple[Tensor]:
        """Logits of one image's objects, at ``mask_out_stride``; see :meth:`dynamic_conv_forward`."""
        if not len(positive_info.param_preds):
            return (mask_feat[:0],)  # a loss of nothing reaches the mask features all the same
        return super().forward_single(mask_feat, positive_info)

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: list, positive_infos: Any = None, **kwargs: Any) -> dict:
        """As mmdet's, with at most ``max_masks_to_train`` objects of the batch."""
        counts = [len(info.param_preds) for info in positive_infos]
        if 0 < self.max_in_batch < sum(counts):
            kept = torch.zeros(sum(counts), dtype=torch.bool)
            kept[torch.randperm(len(kept))[: self.max_in_batch]] = True
            device = positive_infos[0].param_preds.device
            positive_infos = [info[part.to(device)] for info, part in zip(positive_infos, kept.split(counts))]
        training, self.training = self.training, True  # so that there are both kinds of masks
        try:
            return super().loss(x, batch_data_samples, positive_infos=positive_infos, **kwargs)
        finally:
            self.training = training

    def loss_by_feat(
        self,
        mask_preds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        positive_infos: list[InstanceData],
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Losses of the final masks and of the first layer's, each the mean over the batch's objects."""
        total = max(sum(len(info.param_preds) for info in positive_infos), 1)
        weights = {'loss_mask_auxiliary': self.auxiliary_weight, 'loss_mask': 1.0}
        losses: dict[str, Any] = dict.fromkeys(weights, 0.0)
        for preds, instances, info in zip(mask_preds, batch_gt_instances, positive_infos):
            _, target, found = self._get_targets_single(preds, instances, info)
            for name, part in zip(losses, preds.chunk(2)):
                if found:
                    loss = self.loss_mask(part, target, reduction_override='none').sum()
                else:
                    loss = preds.sum() * 0 + info.param_preds.sum() * 0
                losses[name] = losses[name] + weights[name] * loss / total
        return losses
