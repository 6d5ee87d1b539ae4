"""What is timed: a case, and one repetition of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

VARIANTS = {'T': 'tiny', 'S': 'small', 'B': 'base', 'L': 'large'}
MODES = ('inference', 'training')
MODELS = ('backbone', 'mask_rcnn', 'upernet')
PRECISIONS = ('float32', 'bfloat16')

Network = Callable[[Tensor], Sequence[Tensor]]


class Case(NamedTuple):
    """One thing to time. ``size`` is images, rows, columns; ``window`` tokens along its side.

    ``mode`` is ``'inference'`` (forward in inference mode) or ``'training'`` (forward, and backward of a fixed weighted sum
    of the maps; no optimizer); ``precision`` ``'float32'``, or ``'bfloat16'`` by autocast; ``model`` one of :data:`MODELS`.
    """

    variant: str
    window: int
    size: tuple[int, int, int]
    mode: str
    precision: str
    device: str
    model: str = 'backbone'

    @property
    def label(self) -> str:
        size = 'x'.join(map(str, self.size))
        whole = '' if self.model == 'backbone' else f'{self.model} on '
        return f'{whole}Swin-{self.variant}, windows of {self.window}, {size}, {self.precision} {self.mode}'


def _random(shape: Sequence[int], seed: int, device: str) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device)


class Repetition:
    """A case, ready to be computed again and again by one network."""

    def __init__(self, network: Network, case: Case) -> None:
        self.network, self.case = network, case
        count, height, width = case.size
        self.image = _random((count, 3, height, width), 0, case.device)
        self._weights: list[Tensor] = []
        if isinstance(network, nn.Module):
            nn.Module.train(network, case.mode == 'training')  # not network.train(): mmdet's returns None

    def __call__(self) -> Sequence[Tensor]:
        """Compute once and return the maps; the device may still be busy afterwards."""
        low = {'bfloat16': torch.bfloat16, 'float16': torch.float16}.get(self.case.precision)
        autocast: Any = torch.autocast(self.case.device, low, enabled=low is not None)
        if hasattr(self.network, 'mixed'):  # a whole model knows what of it needs float32
            autocast = self.network.mixed(low)
        if self.case.mode == 'inference':
            with torch.inference_mode(), autocast:
                return self.network(self.image)
        self.network.zero_grad(set_to_none=True)
        with autocast:
            maps = self.network(self.image)
        if not self._weights:
            self._weights = [_random(m.shape, 1 + i, self.case.device) for i, m in enumerate(maps)]
        sum((m.float() * weight).sum() for m, weight in zip(maps, self._weights)).backward()
        return [m.detach() for m in maps]

    def outputs(self) -> list[Tensor]:
        """What has to be equal: the maps; in training also the gradient of the patches' filters, which comes last."""
        found = list(self())
        if self.case.mode == 'training':
            found.append(next(p.grad for p in self.network.parameters() if p.dim() == 4))
        return [tensor.float().cpu() for tensor in found]


def error(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference of an output, root mean square over root mean square; infinite for other shapes."""
    if [a.shape for a in found] != [b.shape for b in expected]:
        return float('inf')
    return max(((a - b).square().mean() / b.square().mean()).sqrt().item() for a, b in zip(found, expected))
