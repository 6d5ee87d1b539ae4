"""Multiply-adds of a module, counted on the meta device: shapes alone, so that the largest model takes a second.

torch's own counter, :class:`torch.utils.flop_counter.FlopCounterMode`, sees every convolution, linear layer and matrix
product (two floating-point operations for each multiply-add), whatever the module calls them. mmengine's
``get_model_complexity_info``, which the ``get_flops.py`` of mmdet and mmseg call, is no help here: it traces a real
forward pass (tens of seconds and gigabytes for a large model at full size, with proposals that depend on random
weights), and it has no entry for ``scaled_dot_product_attention``.

Published figures follow conventions, and :class:`MultiplyAdds` keeps apart what is due to them:

* Window attention's two matrix products are counted by formula, so that a count does not depend on the backend that
  computes them (the counter cannot look into a fused kernel, nor can such a kernel run on the meta device).
* The reference implementations pad a map to whole windows *before* projecting it to q, k and v, and crop it *after*
  the output projection. Published figures therefore count both projections for the padded tokens too. This package
  projects first, so it computes less.
* Deformable convolutions, whose kernels cannot run on the meta device either, are counted as the convolutions that they
  are; finding their values between the pixels is not. Published figures contain them.
* The counter of the authors' tools, that of mmcv 1.x, also adds one for each output of a convolution with a bias, of a
  ReLU and each input of a pooling, and two for each input of a normalisation (synchronised batch norm was not in its
  list). These are some thousandths of the whole; with them the figures come out to the digit: 742.36 G for Cascade Mask
  R-CNN Swin-T as users of those tools report it, without products, and 745.46 with them, where the paper has 745.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmswin.backbones.swin import WindowAttention
from mmswin.ops.windows import WindowPlan

META = torch.device('meta')

_CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
_NORMS = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.LayerNorm,
    nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU)
_POOLINGS = (
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d,
    nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
)  # fmt: skip
_BATCHED_PRODUCTS = (torch.ops.aten.bmm, torch.ops.aten.baddbmm)


@dataclass
class MultiplyAdds:
    """Multiply-adds of a forward pass.

    Attributes:
        layers: Convolutions and linear layers.
        products: Products of two activations, padded tokens included: attention, dynamic convolutions.
        padding: Projections of padded tokens to q, k, v and back, which the reference implementations compute and this
            package does not.
        elementwise: Biases of convolutions, normalisations, rectifiers and poolings, as the authors' counter has them.
    """

    layers: int = 0
    products: int = 0
    padding: int = 0
    elementwise: int = 0

    @property
    def computed(self) -> int:
        """Multiply-adds of the matrix products that this package computes."""
        return self.layers + self.products

    @property
    def published(self) -> int:
        """What the authors count."""
        return self.layers + self.products + self.padding + self.elementwise

    def __add__(self, other: 'MultiplyAdds') -> 'MultiplyAdds':
        return MultiplyAdds(*(mine + its for mine, its in zip(astuple(self), astuple(other))))


def _attention(counted: MultiplyAdds) -> Callable[..., Tensor]:
    """What stands for the backend of a window attention: adds the cost to ``counted`` and computes nothing."""

    def attend(qkv: Tensor, pad_value: Tensor | None, bias: Tensor | None, plan: WindowPlan, *_: Any) -> Tensor:
        batch, channels = qkv.shape[0], qkv.shape[3] // 3
        tokens = plan.rows * plan.columns * plan.tokens  # padded ones take part
        # Q K^T and its product with V (paper, equation 2: 2 M^2 hw C); projections of padded tokens, 4 C^2 each.
        counted.products += batch * 2 * tokens * plan.tokens * channels
        counted.padding += batch * 4 * channels**2 * (tokens - plan.height * plan.width)
        return qkv.new_empty(*qkv.shape[:3], channels)

    return attend


def _deformable_convolution(layer: nn.Module, counted: MultiplyAdds) -> Callable[[Tensor, Tensor], Tensor]:
    """What stands for ``forward`` of a ``DeformConv2d``: adds the cost to ``counted`` and computes nothing."""

    def forward(x: Tensor, offset: Tensor) -> Tensor:
        output = x.new_empty(len(x), layer.out_channels, *offset.shape[2:])
        counted.layers += output.numel() * layer.weight[0].numel()
        return output

    return forward


@contextmanager
def _counting(module: nn.Module, counted: MultiplyAdds) -> Iterator[None]:
    """While this lasts, the layers of a module add to ``counted`` what torch's counter does not see."""

    def add(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        counted.elementwise += _elementwise_cost(layer, inputs, output)

    with ExitStack() as stack:
        for layer in module.modules():
            stack.enter_context(layer.register_forward_hook(add))
            if isinstance(layer, WindowAttention):
                stack.callback(setattr, layer, 'attend', layer.attend)
                layer.attend = _attention(counted)
            elif 'DeformConv2d' in {kind.__name__ for kind in type(layer).__mro__}:  # mmcv's, which may be missing
                stack.callback(delattr, layer, 'forward')
                layer.forward = _deformable_convolution(layer, counted)
        yield


def _elementwise_cost(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    if isinstance(layer, _CONVOLUTIONS):
        return 0 if layer.bias is None else output.numel()
    if isinstance(layer, _NORMS):
        affine = getattr(layer, 'affine', False) or getattr(layer, 'elementwise_affine', False)
        return inputs[0].numel() * (2 if affine else 1)
    if isinstance(layer, _RECTIFIERS):
        return output.numel()
    return inputs[0].numel() if isinstance(layer, _POOLINGS) else 0


def count(module: nn.Module, *inputs: Any) -> tuple[Any, MultiplyAdds]:
    """Call a module once and count its multiply-adds.

    Args:
        module: A module in evaluation mode whose parameters are on the meta device.
        inputs: What it takes, tensors on the meta device.

    Returns:
        What the module returns, and the count.

    Raises:
        ValueError: A parameter or input lies on another device. There torch may choose fused kernels which its
            counter does not know, and would leave them out in silence.
    """
    tensors = [*module.parameters(), *(value for value in inputs if isinstance(value, Tensor))]
    elsewhere = {str(tensor.device) for tensor in tensors if tensor.device != META}
    if elsewhere:
        raise ValueError(f'counting needs module and inputs on the meta device, not on {", ".join(sorted(elsewhere))}')
    counted = MultiplyAdds()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _counting(module, counted), counter:
        output = module(*inputs)
    operations = counter.get_flop_counts().get('Global', {})
    batched = sum(flops for operation, flops in operations.items() if operation in _BATCHED_PRODUCTS)
    counted.products += batched // 2
    counted.layers += (counter.get_total_flops() - batched) // 2
    return output, counted
