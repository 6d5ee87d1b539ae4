"""A segmentor of mmseg as one graph: image in, logits or labels at the image's size out."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmswin.backbones.base import contiguous
from mmswin.errors import RunError
from mmswin.export.program import Graph, as_in, shared_copy


class MeanPool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as two products with matrices of means, for maps whose size is a symbol.

    The exporter to ONNX writes the pooling of the example's size, which is wrong in silence at others.
    """

    def __init__(self, output_size: int | tuple[int | None, int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * 2

    def forward(self, x: Tensor) -> Tensor:
        """``B x C x H x W`` to ``B x C x output rows x output columns``."""
        batch, channels, height, width = x.shape
        rows, columns = (count or side for count, side in zip(self.output_size, (height, width)))
        # Products of plain matrices: of stacks of them, torch asks whether a side is 1.
        x = x.reshape(batch * channels * height, width) @ _means(width, columns, x).t()
        x = contiguous(x.reshape(batch * channels, height, columns).transpose(1, 2)).reshape(-1, height)
        return (x @ _means(height, rows, x).t()).reshape(batch, channels, columns, rows).transpose(2, 3)


def _means(size: int, bins: int, like: Tensor) -> Tensor:
    """The matrix, ``bins x size``, whose row i takes the mean of floor(i size / bins) to ceil((i + 1) size / bins)."""
    index, place = torch.arange(bins, device=like.device), torch.arange(size, device=like.device)
    begin, end = (index * size // bins)[:, None], (((index + 1) * size + bins - 1) // bins)[:, None]
    inside = (place >= begin) & (place < end)
    return inside.to(like.dtype) / (end - begin).to(like.dtype)


class SegmentorGraph(Graph):
    """Backbone, neck and head of an ``EncoderDecoder``; any number of images.

    Args:
        model: With its weights; a copy that shares them is kept.
        labels: Give ``B x H x W`` labels (uint8; int32 beyond 256 classes) instead of ``B x classes x H x W`` logits.

    A head of one channel, which mmseg compares with a threshold, gives two: 0, and the logit less that of the threshold.
    """

    def __init__(self, model: nn.Module, labels: bool = False) -> None:
        super().__init__()
        self.labels = labels
        self.output_names = ('labels',) if labels else ('logits',)
        _check(model)
        self.divisor = (getattr(model.data_preprocessor, 'test_cfg', None) or {}).get('size_divisor') or 1
        model = shared_copy(model)
        self.backbone, self.neck, self.head = model.backbone, model.neck if model.with_neck else None, model.decode_head
        for module in self.head.modules():
            for name, part in module.named_children():
                if type(part) is nn.AdaptiveAvgPool2d:
                    setattr(module, name, MeanPool(part.output_size))

    def features(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = self.backbone(image)
        return tuple(maps if self.neck is None else self.neck(maps))

    def heads(self, features: Sequence[Tensor], size: tuple[int, int]) -> tuple[Tensor, ...]:
        padded = [(side + self.divisor - 1) // self.divisor * self.divisor for side in size]
        align = self.head.align_corners
        logits = F.interpolate(self.head(list(features)), size=padded, mode='bilinear', align_corners=align)
        if self.divisor > 1:
            logits = logits[:, :, : size[0], : size[1]]
        if logits.shape[1] == 1:
            threshold = self.head.threshold
            logits = torch.cat([torch.zeros_like(logits), logits - math.log(threshold / (1 - threshold))], 1)
        if not self.labels:
            return (logits,)
        return (logits.argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int32),)


def _check(model: nn.Module) -> None:
    """Refuse what is not backbone, perhaps neck, and one head that gives logits, over the whole image."""
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead
    from mmseg.models.segmentors import EncoderDecoder

    if type(model) is not EncoderDecoder:
        raise RunError(f'export of a segmentor is for EncoderDecoder, not for {type(model).__name__}')
    as_in(model.decode_head, BaseDecodeHead, 'predict', 'predict_by_feat')
    mode = model.test_cfg.get('mode', 'whole')
    if mode != 'whole':
        raise RunError(
            f'model.test_cfg.mode={mode!r}: an exported program takes the image as a whole; export with --cfg-options '
            'model.test_cfg.mode=whole, and give large pictures in tiles'
        )
