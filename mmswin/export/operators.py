"""The two operators of detectors that torch has not and ONNX has: non-maximum suppression and RoIAlign.

In torch they are mmcv's kernels. :func:`onnx_operators` says what they become in ONNX: one standard operator each, which
ONNX Runtime and OpenVINO know.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmcv.ops import nms as mmcv_nms
from mmcv.ops import roi_align as mmcv_roi_align
from torch import Tensor


@torch.library.custom_op('mmswin::nms', mutates_args=())
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int) -> Tensor:
    """Greedy non-maximum suppression among all boxes.

    Args:
        boxes: ``n x 4``, x1 y1 x2 y2.
        scores: ``n``.
        iou_threshold: A box goes if it overlaps with a better one by more.
        limit: How many are kept at most.

    Returns:
        Numbers of the boxes kept, best first.
    """
    return mmcv_nms(boxes, scores, iou_threshold, max_num=limit)[1]


@nms.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(max=limit), dtype=torch.int64)


@torch.library.custom_op('mmswin::roi_align', mutates_args=())
def roi_align(
    x: Tensor, boxes: Tensor, rows: int, columns: int, scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Means of bilinear samples in each cell of a grid over each box (Mask R-CNN, section 3).

    Args:
        x: ``1 x C x H x W``.
        boxes: ``n x 4``, x1 y1 x2 y2 in pixels of the image.
        rows: Of the grid.
        columns: Of the grid.
        scale: Pixels of ``x`` in one of the image.
        sampling_ratio: Samples along each side of a cell; 0 takes one for each pixel of ``x``.
        aligned: Whether the middle of the first pixel lies at 0.5.

    Returns:
        ``n x C x rows x columns``.
    """
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
    return mmcv_roi_align(x, rois, (rows, columns), scale, sampling_ratio, 'avg', aligned)


@roi_align.register_fake
def _(x: Tensor, boxes: Tensor, rows: int, columns: int, scale: float, sampling_ratio: int, aligned: bool) -> Tensor:
    return x.new_empty(boxes.shape[0], x.shape[1], rows, columns)


def onnx_operators() -> dict[Callable, Callable]:
    """Translations for ``torch.onnx.export(custom_translation_table=...)``; needs onnxscript."""
    from onnxscript import opset18 as op

    def to_nms(boxes: Any, scores: Any, iou_threshold: float, limit: int) -> Any:
        chosen = op.NonMaxSuppression(
            op.Unsqueeze(boxes, [0]), op.Unsqueeze(scores, [0, 1]), op.Constant(value_ints=[limit]),
            op.Constant(value_floats=[iou_threshold]),
        )  # fmt: skip
        return op.Gather(chosen, op.Constant(value_int=2), axis=1)  # of image, class and box

    def to_roi_align(
        x: Any, boxes: Any, rows: int, columns: int, scale: float, sampling_ratio: int, aligned: int
    ) -> Any:
        images = op.Expand(op.Constant(value_int=0), op.Shape(boxes, start=0, end=1))
        return op.RoiAlign(
            x, boxes, images, output_height=rows, output_width=columns, spatial_scale=scale, mode='avg',
            sampling_ratio=sampling_ratio,
            coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
        )  # fmt: skip

    return {torch.ops.mmswin.nms.default: to_nms, torch.ops.mmswin.roi_align.default: to_roi_align}
