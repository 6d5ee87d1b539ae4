"""Swin with masked patches, to be pretrained by SimMIM (Xie et al., arXiv 2111.09886, section 3.2).

mmpretrain's SimMIM, its decoder, its head and its masks work with them in place of its own SimMIMSwinTransformer.
"""

import torch
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from mmswin.backbones.swin import SwinTransformer
from mmswin.backbones.swin_v2 import SwinTransformerV2
from mmswin.registry import MODELS


class Masked(SwinTransformer):
    """A Swin with a learned token that stands in for masked patches; detectors do without it."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, self.num_features[0]))
        self._freeze()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Feature maps of an image batch, some of whose patches are masked.

        Args:
            x: ``B x in_channels x H x W``.
            mask: For each patch whether it is masked, ``B x ceil(H / patch) x ceil(W / patch)`` of 0 and 1; None for none.

        Returns:
            As :class:`mmswin.SwinTransformer`.

        Raises:
            ValueError: The mask has another shape.
        """
        x = self.patch_embed(x)
        if mask is not None:
            if mask.shape != x.shape[:3]:
                raise ValueError(
                    f'mask of shape {tuple(mask.shape)} for {tuple(x.shape[:3])} patches (images, rows, columns): set '
                    'input_size and model_patch_size of SimMIMMaskGenerator to the image and to the patch size'
                )
            masked = mask.unsqueeze(-1).type_as(self.mask_token)
            x = x * (1 - masked) + self.mask_token * masked
        return self._of_patches(x)

    def _init_own(self) -> None:
        super()._init_own()
        trunc_normal_(self.mask_token, std=0.02)

    def _frozen(self) -> list[nn.Module | nn.Parameter]:
        token = [self.mask_token] if self.frozen_stages >= 0 and hasattr(self, 'mask_token') else []
        return super()._frozen() + token


@MODELS.register_module()
class MaskedSwinTransformer(Masked):
    """:class:`mmswin.SwinTransformer` with a mask token, of the same arguments; ``forward`` takes a mask, too."""


@MODELS.register_module()
class MaskedSwinTransformerV2(Masked, SwinTransformerV2):
    """:class:`mmswin.SwinTransformerV2` with a mask token, of the same arguments; ``forward`` takes a mask, too."""
