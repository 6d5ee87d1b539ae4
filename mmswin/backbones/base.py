"""What the backbones share: frozen parts, the way weights are loaded, initialisation, and stochastic depth."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from mmswin.checkpoints import loading
from mmswin.checkpoints.loading import load_pretrained
from mmswin.checkpoints.report import LoadReport, replace_part
from mmswin.ops.windows import is_recording


def pad_to_multiple(x: Tensor, rows: int, columns: int) -> Tensor:
    """Append zeros at the bottom and right of the last two axes up to multiples of ``rows`` and ``columns``."""
    # Not -side % rows: OpenVINO has no remainder of symbols, and that of ONNX may have another sign.
    bottom, right = ((side + step - 1) // step * step - side for side, step in zip(x.shape[-2:], (rows, columns)))
    return F.pad(x, (0, right, 0, bottom)) if is_recording() or bottom or right else x


def channels_first(x: Tensor) -> Tensor:
    """``B x H x W x C`` to ``B x C x H x W``, contiguous."""
    return contiguous(x.permute(0, 3, 1, 2))


def contiguous(x: Tensor) -> Tensor:
    """``x.contiguous()``, which a recorded program does not ask whether it is needed: the answer is one for its example."""
    return x.clone(memory_format=torch.contiguous_format) if is_recording() else x.contiguous()


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drop the whole branch of a sample with probability ``rate``, scaling the kept ones."""
    if not training or not rate:
        return x
    kept = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(1 - rate)
    return x * (kept.mul_(1 / (1 - rate)) if rate < 1 else kept)


def fit_position_embedding(grid: Tensor, height: int, width: int) -> Tensor:
    """``1 x C x H x W`` over the grid that it was learned on to ``1 x height x width x C`` (bicubic)."""
    if is_recording():
        _, channels, rows, columns = grid.shape
        x = _cubic(rows, height, grid) @ grid[0].permute(1, 2, 0).reshape(rows, columns * channels)
        x = contiguous(x.reshape(height, columns, channels).transpose(0, 1)).reshape(columns, height * channels)
        return (_cubic(columns, width, grid) @ x).reshape(width, height, channels).transpose(0, 1)[None]
    if (height, width) != tuple(grid.shape[2:]):
        grid = F.interpolate(grid, size=(height, width), mode='bicubic', align_corners=False)
    return grid.permute(0, 2, 3, 1)


def _cubic(size: int, new_size: int, like: Tensor) -> Tensor:
    """The matrix, ``new_size x size``, of bicubic interpolation along one side, equal to that of torch.

    For recorded programs, whose runtimes place the samples in other ways (ONNX's ``pytorch_half_pixel`` at one sample).
    """
    exact = torch.promote_types(like.dtype, torch.float32)
    place = (torch.arange(new_size, device=like.device, dtype=exact) + 0.5) * size / new_size - 0.5
    first, sources = place.floor(), torch.arange(size, device=like.device, dtype=exact)
    matrix = torch.zeros_like(sources)
    for tap in range(-1, 3):
        distance = (place - first - tap).abs()
        near = (1.25 * distance - 2.25) * distance**2 + 1  # cubic convolution with a = -0.75 (Keys)
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
        taken = sources == (first + tap).clamp(0, size - 1)[:, None]
        matrix = matrix + torch.where(distance <= 1, near, far)[:, None] * taken
    return matrix.to(like.dtype)


class Backbone(BaseModule):
    """A backbone whose parts can be frozen and which judges the weights that it is given.

    A subclass says what is frozen and how what is neither a linear layer nor a norm is initialised; it calls :meth:`_freeze` when it is built.

    Attributes:
        load_report: What the last load of weights did, a :class:`mmswin.checkpoints.LoadReport`; None before any.
    """

    load_report: LoadReport | None = None

    def _frozen(self) -> list[nn.Module | nn.Parameter]:
        """Modules, and parameters of the backbone itself, that are frozen."""
        raise NotImplementedError

    def _init_own(self) -> None:
        """Initialise parameters that belong to neither a linear layer nor a LayerNorm."""
        raise NotImplementedError

    def _translate(self, state_dict: dict, prefix: str) -> LoadReport | None:
        """Replace the backbone's part of a state dict by what it can load."""
        return replace_part(self, state_dict, prefix, loading.fit)

    def _freeze(self) -> None:
        for part in self._frozen():
            part.requires_grad_(False)
            if isinstance(part, nn.Module):
                part.eval()

    def train(self, mode: bool = True) -> 'Backbone':
        """Set training mode, frozen parts staying in evaluation mode; returns self."""
        super().train(mode)
        for part in self._frozen():
            if isinstance(part, nn.Module):
                part.eval()
        return self

    def init_weights(self) -> None:
        """Initialise as the authors do, then as ``init_cfg`` says; pretrained weights come last.

        ============================================  =====================================
        linear layers                                 truncated normal, std 0.02; bias 0
        relative bias tables, position embeddings     truncated normal, std 0.02
        LayerNorm                                     weight 1, bias 0
        convolutions                                  torch's default
        ============================================  =====================================

        Raises:
            mmswin.checkpoints.CheckpointError: The pretrained file cannot be read or is for another network.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm) and module.elementwise_affine:
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        self._init_own()
        load_pretrained(self, self.init_cfg)
        self._is_init = True

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        # Every way of loading passes here, alone or inside a detector.
        self.load_report = self._translate(state_dict, prefix) or self.load_report
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
