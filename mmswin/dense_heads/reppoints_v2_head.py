"""Head of RepPoints V2 (Chen et al., arXiv 2007.08508): points regressed, and verified by corner and foreground maps."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import RepPointsHead
from mmdet.models.dense_heads.corner_head import BiCornerPool
from mmdet.models.utils import select_single_mlvl
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.model import bias_init_with_prob, normal_init
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmswin.checkpoints.formats import REPPOINTS_V2_HEAD
from mmswin.checkpoints.naming import rename_below
from mmswin.dense_heads.corners import corner_targets, foreground_targets, refine_corners
from mmswin.dense_heads.deform_conv import DeformConv2d
from mmswin.ops.autocast import autocast_to
from mmswin.registry import MODELS


class CornerModule(BiCornerPool):
    """mmdet's corner pooling with a 1x1 convolution at its end."""

    def __init__(self, in_channels: int, directions: Sequence[str], feat_channels: int, norm_cfg: dict) -> None:
        super().__init__(in_channels, directions, feat_channels, in_channels, norm_cfg)
        self.conv2 = ConvModule(in_channels, in_channels, 1, norm_cfg=norm_cfg)


@MODELS.register_module()
class RepPointsV2Head(RepPointsHead):
    """RepPoints with two branches that verify: corners by corner pooling, and which cells lie in boxes of each class.

    The first of an object's points is its top left corner, the second its bottom right one; together they are the box,
    and the other points steer the deformable convolutions alone. All levels share the head. At inference the corners of
    boxes of coarse levels move to the best place of a finer level's corner map.

    It follows the models that the authors of Swin released, not the paper, where the two differ: corner scores and
    offsets are concatenated to the features, and an embedding of the foreground branch's features is added to them.

    Args:
        num_classes: Number of classes.
        in_channels: Width of the maps of the neck.
        corner_channels: Width of corner pooling.
        corner_levels: For each level, that of the corner maps which its boxes are refined by; None: they are not.
        loss_corner: Loss of corner scores, after the sigmoid.
        loss_corner_offset: Loss of corner offsets.
        loss_foreground: Loss of foreground logits.
        kwargs: As for mmdet's ``RepPointsHead``; ``loss_cls`` is a ``QualityFocalLoss``. Its ways of making boxes of points
            (``transform_method``, ``use_grid_points``, ``center_init``) do not apply.

    Raises:
        ValueError: ``corner_levels`` does not fit the levels, or ``loss_cls`` does not take a quality.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        corner_channels: int = 64,
        corner_levels: Sequence[int | None] = (None, 0, 0, 1, 1),
        stacked_convs: int = 3,
        norm_cfg: dict[str, Any] = dict(type='GN', num_groups=32, requires_grad=True),  # noqa: B006
        loss_cls: dict[str, Any] = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0),  # noqa: B006
        loss_bbox_init: dict[str, Any] = dict(type='mmswin.InclusiveGIoULoss', loss_weight=1.0),  # noqa: B006
        loss_bbox_refine: dict[str, Any] = dict(type='mmswin.InclusiveGIoULoss', loss_weight=2.0),  # noqa: B006
        loss_corner: dict[str, Any] = dict(type='GaussianFocalLoss', loss_weight=0.25),  # noqa: B006
        loss_corner_offset: dict[str, Any] = dict(type='SmoothL1Loss', beta=1 / 9),  # noqa: B006
        loss_foreground: dict[str, Any] = dict(type='mmswin.NormalizedFocalLoss', loss_weight=0.1),  # noqa: B006
        init_cfg: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.corner_channels = corner_channels
        self.corner_levels = tuple(corner_levels)
        super().__init__(
            num_classes,
            in_channels,
            stacked_convs=stacked_convs,
            norm_cfg=norm_cfg,
            loss_cls=loss_cls,
            loss_bbox_init=loss_bbox_init,
            loss_bbox_refine=loss_bbox_refine,
            transform_method='corners',
            init_cfg=init_cfg,
            **kwargs,
        )
        levels = len(self.point_strides)
        named = [level for level in self.corner_levels if level is not None]
        if len(self.corner_levels) != levels or not all(0 <= level < levels for level in named):
            raise ValueError(
                f'corner_levels={self.corner_levels}: expected one entry for each of the {levels} point_strides '
                f'{list(self.point_strides)}, each None or a level from 0 to {levels - 1}'
            )
        if 'QualityFocalLoss' not in {base.__name__ for base in type(self.loss_cls).__mro__}:
            raise ValueError(
                f'loss_cls is a {type(self.loss_cls).__name__}: expected a QualityFocalLoss, as scores learn the IoU'
            )
        self.loss_corner = MODELS.build(loss_corner)
        self.loss_corner_offset = MODELS.build(loss_corner_offset)
        self.loss_foreground = MODELS.build(loss_foreground)
        self._register_load_state_dict_pre_hook(_from_authors)

    def _init_layers(self) -> None:
        super()._init_layers()
        width, norm = self.feat_channels, self.norm_cfg
        with_corners = width + 6  # two scores, two offsets of x and y
        self.reppoints_cls_conv, self.reppoints_pts_refine_conv = (
            DeformConv2d(with_corners, self.point_feat_channels, self.dcn_kernel, 1, self.dcn_pad) for _ in range(2)
        )
        self.shared_conv = ConvModule(width, width, 3, padding=1, norm_cfg=norm)
        self.foreground_out = nn.Conv2d(width, self.num_classes, 1)
        self.foreground_embedding = ConvModule(width, width, 1, norm_cfg=norm)
        self.corner_modules = nn.ModuleList(
            CornerModule(width, directions, self.corner_channels, norm)
            for directions in (('top', 'left'), ('bottom', 'right'))
        )
        self.corner_score_outs = nn.ModuleList(nn.Conv2d(width, 1, 3, padding=1) for _ in range(2))
        self.corner_offset_outs = nn.ModuleList(nn.Conv2d(width, 2, 3, padding=1) for _ in range(2))

    def init_weights(self) -> None:
        """As ``init_cfg`` says. None: normal of 0.01 but for the corner modules and the embedding; scores begin at 0.01."""
        super().init_weights()
        if self.init_cfg:
            return
        kept = {layer for part in (self.corner_modules, self.foreground_embedding) for layer in part.modules()}
        scores = {self.reppoints_cls_out, self.foreground_out, *self.corner_score_outs}
        for layer in self.modules():
            if isinstance(layer, (nn.Conv2d, DeformConv2d)) and layer not in kept:
                normal_init(layer, std=0.01, bias=bias_init_with_prob(0.01) if layer in scores else 0)

    def points2bbox(self, pts: Tensor, y_first: bool = True) -> Tensor:
        """Boxes (x1, y1, x2, y2 in dimension 1) of points, whose coordinates are in dimension 1 as well."""
        return pts[:, [1, 0, 3, 2]] if y_first else pts[:, :4]

    def forward_single(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of one level.

        Args:
            x: B x C x H x W.

        Returns:
            B x K x H x W each: class logits, the first points and the second points (y and x in strides), logits of the top
            left and the bottom right corner, their offsets (x, y, x, y in strides), and foreground logits.
        """
        cls_feat = pts_feat = x
        for cls_conv, reg_conv in zip(self.cls_convs, self.reg_convs, strict=True):
            cls_feat, pts_feat = cls_conv(cls_feat), reg_conv(pts_feat)
        shared = self.shared_conv(pts_feat)
        foreground = self.foreground_out(shared)
        embedding = self.foreground_embedding(shared)
        cls_feat, pts_feat, shared = cls_feat + embedding, pts_feat + embedding, shared + embedding
        corner_feats = [module(shared) for module in self.corner_modules]
        corner_scores = torch.cat([out(feat) for out, feat in zip(self.corner_score_outs, corner_feats)], 1)
        corner_offsets = torch.cat([out(feat) for out, feat in zip(self.corner_offset_outs, corner_feats)], 1)
        pts_init_feat = self.relu(self.reppoints_pts_init_conv(pts_feat))
        # Deformable convolutions have no kernels for bfloat16, whose 8 bits are too few for places besides.
        with autocast_to(x.device.type, None):
            dtype = self.reppoints_pts_init_out.weight.dtype
            corners = [corner_scores.to(dtype), corner_offsets.to(dtype)]
            pts_init = self.reppoints_pts_init_out(pts_init_feat.to(dtype))
            offset = (1 - self.gradient_mul) * pts_init.detach() + self.gradient_mul * pts_init
            offset = offset - self.dcn_base_offset.to(offset)
            cls_feat = self.relu(self.reppoints_cls_conv(torch.cat([cls_feat.to(dtype), *corners], 1), offset))
            pts_feat = self.relu(self.reppoints_pts_refine_conv(torch.cat([pts_feat.to(dtype), *corners], 1), offset))
            pts_refine = self.reppoints_pts_refine_out(pts_feat) + pts_init.detach()
            return (*self.classify(cls_feat), pts_init, pts_refine, *corners, foreground)

    def classify(self, cls_feat: Tensor) -> tuple[Tensor, ...]:
        """Maps of the class branch's last feature map (B x C x H x W), class logits first."""
        return (self.reppoints_cls_out(cls_feat),)

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        pts_preds_init: list[Tensor],
        pts_preds_refine: list[Tensor],
        corner_scores: list[Tensor],
        corner_offsets: list[Tensor],
        foregrounds: list[Tensor],
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: list[InstanceData] | None = None,
    ) -> dict[str, Tensor | list[Tensor]]:
        """Losses of a batch from the maps that :meth:`forward_single` gives for each level.

        Losses of positives are averaged over those of this process alone, of which there is at least one an image.
        """
        sizes = [tuple(scores.shape[2:]) for scores in cls_scores]
        centers, valid = self.get_points(sizes, batch_img_metas, cls_scores[0].device)
        init, refine = (self.offset_to_pts(centers, preds) for preds in (pts_preds_init, pts_preds_refine))
        # The second stage assigns boxes of the first points, with the stride of their level.
        candidates = [
            [torch.cat([points[image, :, :4].detach(), center[:, 2:3]], 1) for points, center in zip(init, levels)]
            for image, levels in enumerate(centers)
        ]
        flags = [list(of_image) for of_image in valid]  # mmdet joins the levels of such lists in place
        instances = (batch_gt_instances, batch_img_metas, batch_gt_instances_ignore)
        init_targets = self.get_targets(centers, valid, *instances, stage='init')
        refine_targets = self._refine_targets(candidates, flags, *instances)
        losses: dict[str, Any] = {'loss_cls': [], 'loss_pts_init': [], 'loss_pts_refine': []}
        stages = (('init', init, init_targets), ('refine', refine, refine_targets))
        for level, stride in enumerate(self.point_strides):
            unit = self.point_base_scale * stride
            for stage, points, targets in stages:
                pred, target, weight = (x[level][..., :4].reshape(-1, 4) for x in (points, targets[2], targets[4]))
                loss = getattr(self, f'loss_bbox_{stage}')(pred / unit, target / unit, weight, avg_factor=targets[5])
                losses[f'loss_pts_{stage}'].append(loss)
            quality = bbox_overlaps(pred.detach(), target, is_aligned=True) * weight[:, 0]  # of the second stage
            labels, label_weights = (targets[kind][level].flatten() for kind in (0, 1))
            logits = cls_scores[level].permute(0, 2, 3, 1).reshape(-1, self.cls_out_channels)
            loss = self.loss_cls(logits, (labels, quality), label_weights, avg_factor=targets[5])
            losses['loss_cls'].append(loss)
        boxes = [instances.bboxes for instances in batch_gt_instances]
        losses.update(self._corner_losses(corner_scores, corner_offsets, boxes, batch_img_metas))
        losses['loss_foreground'] = self._foreground_loss(foregrounds, batch_gt_instances, batch_img_metas)
        return losses

    def _refine_targets(self, candidates: list, flags: list, *instances: Any) -> tuple:
        return self.get_targets(candidates, flags, *instances, stage='refine')

    def _corner_losses(
        self, scores: list[Tensor], offsets: list[Tensor], boxes: list[Tensor], metas: list[dict]
    ) -> dict[str, list[Tensor]]:
        """Losses of corner scores and offsets of each level: the mean of those of the two corners."""
        targets, weights = [], []
        for level, stride in enumerate(self.point_strides):
            size = tuple(scores[level].shape[2:])
            weight = scores[level].new_zeros(len(metas), *size)
            found = []
            for image, meta in enumerate(metas):
                rows, columns = _valid_size(meta, stride, size)
                weight[image, :rows, :columns] = 1.0
                found.append(corner_targets(boxes[image], stride, size, (rows, columns)))
            targets.append([torch.stack(kind) for kind in zip(*found)])
            weights.append(weight)
        # Images x corners: positives of all levels, at least one.
        counts = sum((heat == 1).sum((2, 3)) for heat, _ in targets).clamp(min=1).sum(0).tolist()
        losses: dict[str, list[Tensor]] = {'loss_corner': [], 'loss_corner_offset': []}
        for level, ((heat, offset), weight) in enumerate(zip(targets, weights)):
            score_losses, offset_losses = [], []
            for corner, count in enumerate(counts):
                positive = (heat[:, corner] == 1).to(weight)[:, None].expand(-1, 2, -1, -1)
                both = slice(2 * corner, 2 * corner + 2)
                probabilities = scores[level][:, corner].sigmoid()
                score_losses.append(self.loss_corner(probabilities, heat[:, corner], weight=weight, avg_factor=count))
                pred = offsets[level][:, both]
                offset_losses.append(self.loss_corner_offset(pred, offset[:, both], positive, avg_factor=count))
            losses['loss_corner'].append(sum(score_losses) / 2)
            losses['loss_corner_offset'].append(sum(offset_losses) / 2)
        return losses

    def _foreground_loss(self, logits: list[Tensor], instances: list[InstanceData], metas: list[dict]) -> Tensor:
        """Loss of all foreground maps together, whose targets are made at the finest level."""
        size, stride = tuple(logits[0].shape[2:]), self.point_strides[0]
        found = [
            foreground_targets(
                image.bboxes, image.labels, self.num_classes, stride, size, _valid_size(meta, stride, size)
            )
            for image, meta in zip(instances, metas)
        ]
        target, weight = (
            torch.cat([F.interpolate(maps, of_level.shape[2:], mode='nearest').flatten() for of_level in logits])
            for maps in (torch.stack(kind) for kind in zip(*found))
        )
        return self.loss_foreground(torch.cat([x.flatten() for x in logits]), target, weight)

    def predict_by_feat(
        self,
        cls_scores: list[Tensor],
        pts_preds_init: list[Tensor],
        pts_preds_refine: list[Tensor],
        corner_scores: list[Tensor],
        corner_offsets: list[Tensor],
        foregrounds: list[Tensor],
        batch_img_metas: list[dict],
        cfg: ConfigDict | None = None,
        rescale: bool = False,
        with_nms: bool = True,
        fields: Mapping[str, list[Tensor]] | None = None,
    ) -> list[InstanceData]:
        """Boxes of a batch from the maps of :meth:`forward_single`.

        Args:
            cls_scores: Class logits of each level, B x classes x H x W.
            pts_preds_init: First points.
            pts_preds_refine: Second points.
            corner_scores: Logits of corners.
            corner_offsets: Offsets of corners.
            foregrounds: Foreground logits.
            batch_img_metas: One for each image.
            cfg: In place of ``test_cfg``.
            rescale: Boxes in pixels of the original image.
            with_nms: Suppress what overlaps.
            fields: More for the results: by name, maps of each level, B x K x H x W.

        Returns:
            For each image ``bboxes``, ``scores``, ``labels`` and the fields.
        """
        sizes = [tuple(scores.shape[2:]) for scores in cls_scores]
        centers = self.prior_generator.grid_priors(sizes, dtype=pts_preds_refine[0].dtype, device=cls_scores[0].device)
        results = []
        for image, meta in enumerate(batch_img_metas):
            maps = [select_single_mlvl(x, image) for x in (cls_scores, pts_preds_refine, corner_scores, corner_offsets)]
            more = {name: select_single_mlvl(x, image, detach=False) for name, x in (fields or {}).items()}
            found = self._boxes_of_image(maps, centers, meta['img_shape'], cfg or self.test_cfg, more)
            results.append(self._bbox_post_process(found, cfg or self.test_cfg, rescale, with_nms, meta))
        return results

    def _boxes_of_image(
        self, maps: Sequence[list[Tensor]], centers: list[Tensor], shape: Sequence[int], cfg: ConfigDict, fields: dict
    ) -> InstanceData:
        """Boxes of all levels whose scores are high enough, before suppression."""
        cls_scores, points, corner_scores, corner_offsets = maps
        high = cls_scores[0].new_tensor([shape[1], shape[0]] * 2)
        boxes, scores = [], []
        kept: dict[str, list[Tensor]] = {name: [] for name in fields}
        for level, stride in enumerate(self.point_strides):
            logits = cls_scores[level].flatten(1).t()
            # Places are chosen by their best class and keep all classes, as the authors' tools do.
            limit = cfg.get('nms_pre', -1)
            places = logits.amax(1).topk(min(limit, len(logits)) if limit > 0 else len(logits)).indices
            box = self.points2bbox(points[level].flatten(1).t()[places])
            box = (box * stride + centers[level][places].repeat(1, 2)).clamp(min=0).minimum(high)
            finer = self.corner_levels[level]
            if finer is not None:
                corners = zip(box.split(2, 1), corner_scores[finer], corner_offsets[finer].split(2))
                box = torch.cat([refine_corners(*corner, self.point_strides[finer]) for corner in corners], 1)
                box = box.clamp(min=0).minimum(high)
            boxes.append(box)
            scores.append(logits[places].sigmoid())
            for name, of_levels in fields.items():
                kept[name].append(of_levels[level].flatten(1).t()[places])
        all_scores = torch.cat(scores)
        chosen, labels = (all_scores > cfg.get('score_thr', 0.0)).nonzero().unbind(1)
        return InstanceData(
            bboxes=torch.cat(boxes)[chosen],
            scores=all_scores[chosen, labels],
            labels=labels,
            **{name: torch.cat(values)[chosen] for name, values in kept.items()},
        )


def _valid_size(meta: dict, stride: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of a map that belong to an image, padded by itself, in a batch whose largest the map fits."""
    return tuple(min(-(-side // stride), limit) for side, limit in zip(meta['pad_shape'], size))


def _from_authors(state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Take the names of the authors' checkpoints too."""
    rename_below(state_dict, prefix, REPPOINTS_V2_HEAD)
