"""Layer-wise learning-rate decay for Swin: the nearer to the image, the smaller the learning rate."""

import torch.nn as nn
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper

from mmswin.backbones import SwinTransformer
from mmswin.engine.precision import OptimWrapperConstructor
from mmswin.registry import OPTIM_WRAPPER_CONSTRUCTORS

_STEM = ('patch_embed', 'mask_token', 'absolute_pos_embed')


def swin_layer(name: str, depths: list[int]) -> int:
    """Layer number of a parameter of the backbone by its name inside it, from the image upwards.

    0 for the patch embedding, the mask token and the absolute position embedding, 1 to ``sum(depths)`` for the blocks, the
    number of its stage's last block for a patch merging, ``sum(depths) + 1`` for the norms of the outputs.

    Raises:
        ValueError: A name that is none of these.
    """
    first, *rest = name.split('.')
    if first in _STEM:
        return 0
    if first.startswith('norm') and first[4:].isdigit():
        return sum(depths) + 1
    if first == 'layers' and len(rest) > 1:
        stage = int(rest[0])
        if rest[1] == 'downsample':
            return sum(depths[: stage + 1])
        if rest[1] == 'blocks':
            return sum(depths[:stage]) + int(rest[2]) + 1
    raise ValueError(f"layer-wise learning-rate decay does not know the layer of the backbone's parameter {name!r}")


def layer_scales(model: nn.Module, decay_rate: float) -> dict[str, float]:
    """Parameter name to learning-rate factor: ``decay_rate ** (sum(depths) + 1 - layer)`` in every backbone, 1 outside.

    Raises:
        ValueError: The model holds no ``mmswin.SwinTransformer``.
    """
    scales = {name: 1.0 for name, _ in model.named_parameters()}
    backbones = [(name, module) for name, module in model.named_modules() if isinstance(module, SwinTransformer)]
    if not backbones:
        found = type(getattr(model, 'backbone', model))
        raise ValueError(
            'mmswin.LayerDecayOptimWrapperConstructor needs a mmswin.SwinTransformer, and this model has '
            f"{found.__module__}.{found.__qualname__}. Use type='mmswin.SwinTransformer' as the backbone, or remove "
            'optim_wrapper.constructor to train without layer-wise decay.'
        )
    for prefix, backbone in backbones:
        depths = [len(stage.blocks) for stage in backbone.layers]
        for name, _ in backbone.named_parameters():
            scale = decay_rate ** (sum(depths) + 1 - swin_layer(name, depths))
            scales[f'{prefix}.{name}' if prefix else name] = scale
    return scales


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(OptimWrapperConstructor):
    """Builds an optimizer whose learning rate falls layer by layer towards the image.

    Layer k (see :func:`swin_layer`) of N gets ``lr * decay_rate ** (N + 1 - k)``; the norms of the outputs and everything
    outside the backbone (neck, heads) keep the full learning rate. The other rules of ``paramwise_cfg``
    (``custom_keys``, ``norm_decay_mult``, ...) hold as in mmengine and multiply with this one::

        optim_wrapper = dict(
            constructor='mmswin.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(decay_rate=0.8))

    Args:
        optim_wrapper_cfg: As in mmengine's default constructor; ``optimizer.lr`` is needed.
        paramwise_cfg: As in mmengine's default constructor, and ``decay_rate``, above 0 and at most 1.

    Raises:
        ValueError: ``decay_rate`` or ``optimizer.lr`` is missing or out of range; an option of mmdetection's constructor
            that this one does not have; the model's backbone is not a ``mmswin.SwinTransformer``.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        rate = self.paramwise_cfg.get('decay_rate')
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1:
            raise ValueError(
                'mmswin.LayerDecayOptimWrapperConstructor needs optim_wrapper.paramwise_cfg.decay_rate, a number above '
                f'0 and at most 1 (for example 0.8), got {rate!r}'
            )
        if 'num_layers' in self.paramwise_cfg:
            raise ValueError(
                'optim_wrapper.paramwise_cfg.num_layers is not an option of mmswin.LayerDecayOptimWrapperConstructor: '
                'the number of layers is read off the backbone; remove it'
            )
        if self.paramwise_cfg.get('decay_type', 'layer_wise') != 'layer_wise':
            raise ValueError(
                "optim_wrapper.paramwise_cfg.decay_type must be 'layer_wise' (or left out) for "
                f'mmswin.LayerDecayOptimWrapperConstructor, got {self.paramwise_cfg["decay_type"]!r}'
            )
        if self.base_lr is None:
            raise ValueError('layer-wise learning-rate decay needs optim_wrapper.optimizer.lr')
        self.decay_rate = float(rate)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, 'module', model)
        scales = layer_scales(model, self.decay_rate)
        self._scales = {param: scales[name] for name, param in model.named_parameters()}
        print_log(
            f'Layer-wise learning-rate decay {self.decay_rate:g}: learning rates from '
            f'{self.base_lr * min(scales.values()):.3g} at the image to {self.base_lr:.3g} in the heads',
            logger='current',
        )
        return super().__call__(model)

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', **kwargs) -> None:
        """Add one group per parameter as mmengine does, then scale its learning rate."""
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:  # mmengine's method calls itself for every child
            return
        for group in params:
            group['lr'] = group.get('lr', self.base_lr) * self._scales[group['params'][0]]
