"""What the backbones share: frozen parts, the way weights are loaded, initialisation, and stochastic depth."""

from __future__ import annotations

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
    bottom, right = -x.shape[-2] % rows, -x.shape[-1] % columns
    if not is_recording() and not bottom and not right:
        return x
    return F.pad(x, (0, right, 0, bottom))


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: drop the whole branch of a sample with probability ``rate``, scaling the kept ones."""
    if not training or not rate:
        return x
    kept = x.new_empty((x.shape[0],) + (1,) * (x.dim() - 1)).bernoulli_(1 - rate)
    return x * (kept.mul_(1 / (1 - rate)) if rate < 1 else kept)


def fit_position_embedding(grid: Tensor, height: int, width: int) -> Tensor:
    """``1 x C x H x W`` over the grid that it was learned on to ``1 x height x width x C`` (bicubic)."""
    if is_recording() or (height, width) != tuple(grid.shape[2:]):
        grid = F.interpolate(grid, size=(height, width), mode='bicubic', align_corners=False)
    return grid.permute(0, 2, 3, 1)


class Backbone(BaseModule):
    """A backbone whose parts can be frozen and which judges the weights that it is given.

    A subclass says what is frozen and how what is neither a linear layer nor a norm is initialised; it calls :meth:`_freeze` when it is built.

    Attributes:
        load_report: What the last load of weights did, a :class:`mmswin.checkpoints.LoadReport`; None before any.
    """

    load_report: LoadReport | None = None

    def _frozen_modules(self) -> list[nn.Module]:
        raise NotImplementedError

    def _frozen_parameters(self) -> list[nn.Parameter]:
        """Parameters of the backbone itself that are frozen."""
        raise NotImplementedError

    def _init_own(self) -> None:
        """Initialise parameters that belong to neither a linear layer nor a LayerNorm."""
        raise NotImplementedError

    def _translate(self, state_dict: dict, prefix: str) -> LoadReport | None:
        """Replace the backbone's part of a state dict by what it can load."""
        return replace_part(self, state_dict, prefix, loading.fit)

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.eval().requires_grad_(False)
        for parameter in self._frozen_parameters():
            parameter.requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Set training mode, frozen parts staying in evaluation mode; returns self."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
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
