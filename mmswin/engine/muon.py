"""Muon: steps of equal size in every direction of a weight matrix."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from mmswin.engine.precision import is_slower
from mmswin.registry import OPTIMIZERS

# Of the polynomial a x + b x^3 + c x^5 that brings singular values near 1 (Jordan et al., 2024).
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
# The root mean square of an AdamW step is about this part of its learning rate (Liu et al., arXiv 2502.16982, section 2.2).
_SIZE_OF_ADAMW = 0.2


@OPTIMIZERS.register_module()
class Muon(Optimizer):
    """Muon (Jordan et al., 2024) for weight matrices, AdamW for everything else, with one learning rate for both.

    ``torch.optim.Muon`` takes matrices alone, and a recipe of mmengine has one optimizer. A matrix here is a parameter of
    two dimensions, both at least ``smallest_side``: a linear layer's weight, also a detector's learned queries; bias
    tables, norms and convolutions are not. Its step is that of ``torch.optim.Muon(adjust_lr_fn='match_rms_adamw')``.

    Args:
        params: Parameters or groups of them.
        lr: Learning rate; that of AdamW will do.
        weight_decay: Decoupled weight decay of both.
        momentum: Of Muon, with Nesterov's look ahead.
        ns_steps: Newton-Schulz iterations.
        smallest_side: What a matrix has at least, rows and columns.
        betas, eps: AdamW's.

    Raises:
        ValueError: ``lr``, ``weight_decay``, ``momentum``, ``betas`` or ``eps`` out of range, or there is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        momentum: float = 0.95,
        ns_steps: int = 5,
        smallest_side: int = 64,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum must be at least 0 and below 1, not {momentum}')
        self.smallest_side = smallest_side
        own = dict(momentum=momentum, ns_steps=ns_steps)
        self.adamw = AdamW([torch.empty(0)], lr=lr, weight_decay=weight_decay, betas=betas, eps=eps)
        super().__init__(params, {**self.adamw.defaults, **own, 'matrices': False})
        if not any(group['matrices'] for group in self.param_groups):
            raise ValueError(
                f'mmswin.Muon found no matrix of at least {smallest_side} x {smallest_side} among the parameters (sharded '
                'ones are flat): set smallest_side, or use AdamW'
            )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, or two where it holds both kinds."""
        params = param_group['params']
        params = [params] if isinstance(params, Tensor) else list(params)
        for matrices in (True, False):
            some = [p for p in params if (p.dim() == 2 and min(p.shape) >= self.smallest_side) is matrices]
            if some or not params:
                super().add_param_group({**param_group, 'params': some, 'matrices': matrices})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change the parameters by their gradients; returns what ``closure`` does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.adamw.param_groups = [group for group in self.param_groups if not group['matrices']]
        self.adamw.state = self.state
        self.adamw.step()
        for group in self.param_groups:
            for param in group['params'] if group['matrices'] else ():
                if param.grad is not None:
                    self._step_of_matrix(param, group)
        return loss

    def _step_of_matrix(self, param: Tensor, group: dict[str, Any]) -> None:
        state = self.state[param]
        if not state:
            state['momentum_buffer'] = torch.zeros_like(param)
        state['momentum_buffer'].lerp_(param.grad, 1 - group['momentum'])
        direction = orthogonalize(param.grad.lerp(state['momentum_buffer'], group['momentum']), group['ns_steps'])
        param.mul_(1 - group['lr'] * group['weight_decay'])
        param.add_(direction, alpha=-group['lr'] * _SIZE_OF_ADAMW * max(param.shape) ** 0.5)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """The orthogonal matrix nearest to a matrix, roughly: its singular values become 0.7 to 1.2 (Newton-Schulz).

    Computed in bfloat16, as in torch, but for processors without instructions for it.
    """
    a, b, c = _POLYNOMIAL
    x = matrix.float() if matrix.device.type == 'cpu' and is_slower(torch.bfloat16) else matrix.bfloat16()
    x = x.T if len(matrix) > matrix.shape[1] else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        products = x @ x.T
        x = torch.addmm(x, torch.addmm(products, products, products, beta=b, alpha=c), x, beta=a)
    return (x.T if len(matrix) > matrix.shape[1] else x).to(matrix.dtype)
