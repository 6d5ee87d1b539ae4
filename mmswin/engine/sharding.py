"""A Runner whose processes shard what they otherwise would all hold (see :mod:`mmswin.engine.strategies`).

What decides the order of things: weights are initialised and loaded as in any other run, by the model's own means,
and the model is sharded after that and before the optimizer is built; a sharded parameter takes no plain tensor. When a
checkpoint is saved, all processes gather its shards, and the first writes what an unsharded run would.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import broadcast, is_main_process
from mmengine.model import convert_sync_batchnorm
from mmengine.optim import OptimWrapper, ZeroRedundancyOptimizer
from mmengine.runner import Runner, find_latest_checkpoint
from mmengine.runner.checkpoint import _load_checkpoint
from mmengine.utils import apply_to
from torch import nn

from mmswin.engine.strategies import strategy_of
from mmswin.errors import RunError


def shard(model: nn.Module, wrap: tuple[str, ...]) -> None:
    """Leave each process its shard of a model, on its device and with the first one's weights; all processes must call.

    Each module of a class named in ``wrap`` becomes a unit, gathered for its forward and its backward. Names and order
    of the parameters stay.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    for tensor in model.state_dict().values():
        broadcast(tensor)
    mesh = init_device_mesh(get_device(), (torch.distributed.get_world_size(),))
    for module in list(model.modules()):
        if type(module).__name__ in wrap:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)


def is_sharded(model: nn.Module) -> bool:
    """Whether :func:`shard` has been called on a model."""
    return any(_is_dtensor(parameter) for parameter in model.parameters())


def _is_dtensor(value: Any) -> bool:
    return torch.is_tensor(value) and hasattr(value, 'full_tensor')


def gather_state_dict(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """A state dict with full tensors on the CPU in place of shards; all processes must call, the first gets them."""
    keep = is_main_process()

    def gathered(local: torch.Tensor) -> torch.Tensor | None:
        tensor = local.detach().full_tensor()
        return tensor.cpu() if keep else None

    result = apply_to(state, _is_dtensor, gathered)
    if hasattr(state, '_metadata'):  # the versions of a model's modules
        result._metadata = state._metadata
    return result


def shard_optimizer_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Replace the tensors of a full state dict, in place, by the shards of the optimizer of a sharded model."""
    from torch.distributed.tensor import distribute_tensor

    parameters = [p for group in optimizer.param_groups for p in group['params']]
    numbers = [n for group in state['param_groups'] for n in group['params']]
    for number, parameter in zip(numbers, parameters):
        for name, value in state['state'].get(number, {}).items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                value = value.to(parameter.device)
                state['state'][number][name] = distribute_tensor(value, parameter.device_mesh, parameter.placements)


@contextmanager
def _state_dict_replaced(thing: Any, state: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, ``thing.state_dict()`` returns ``state``."""
    thing.state_dict = lambda *args, **kwargs: state
    try:
        yield
    finally:
        del thing.state_dict


# Lines of mmengine's constructor of optimizer wrappers, and of mmdet's with layer-wise decay: hundreds, one a parameter.
_OF_ONE_PARAMETER = re.compile(r'paramwise_options -- |Param groups = |\S+ is skipped since its requires_grad=False')


def _in_file_alone(record: logging.LogRecord) -> bool:
    """What a terminal's handler passes while an optimizer is built."""
    return not _OF_ONE_PARAMETER.match(record.getMessage())


class ShardingRunner(Runner):
    """mmengine's Runner, which follows ``cfg.strategy`` and saves and resumes what is shared."""

    def _shards_parameters(self) -> bool:
        return self.distributed and strategy_of(self.cfg).kind == 'fsdp'

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """The model in mmengine's wrapper; with 'fsdp' the bare model, which is sharded when its weights are there."""
        if not self._shards_parameters():
            return super().wrap_model(model_wrapper_cfg, model)
        model = model.to(get_device())
        return convert_sync_batchnorm(model, self.cfg.sync_bn) if self.cfg.get('sync_bn') else model

    def build_optim_wrapper(self, optim_wrapper: Any) -> OptimWrapper:
        """The optimizer, of the parameters that this process has."""
        if self._shards_parameters() and not is_sharded(self.model):
            self._shard_model()
        terminals = [handler for handler in self.logger.handlers if not isinstance(handler, logging.FileHandler)]
        for handler in terminals:
            handler.addFilter(_in_file_alone)
        try:
            return super().build_optim_wrapper(optim_wrapper)
        finally:
            for handler in terminals:
                handler.removeFilter(_in_file_alone)

    def _shard_model(self) -> None:
        self._init_model_weights()
        if self._resume and self._load_from is None:
            self._load_from = find_latest_checkpoint(self.work_dir)
        if self._load_from is not None:
            self.load_checkpoint(self._load_from)
        self._has_loaded = not self._resume  # the state of the run is still to come
        shard(self.model, strategy_of(self.cfg).wrap)
        here, total = local_numel(self.model.parameters()), sum(p.numel() for p in self.model.parameters())
        self.logger.info(f'This process holds {here / total:.0%} of {total / 1e6:.1f} M parameters')

    def _init_model_weights(self) -> None:
        if not is_sharded(self.model):
            super()._init_model_weights()

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = 'cpu',
        strict: bool = False,
        revise_keys: list = [(r'^module.', '')],  # noqa: B006  mmengine's
    ) -> dict[str, Any]:
        """Load a checkpoint's weights; arguments as for mmengine's.

        Of a sharded model, only the file of which it has the weights: then the optimizer's state is returned in shards.

        Raises:
            RunError: Another checkpoint for a sharded model.
        """
        if not is_sharded(self.model):
            if self.distributed and strategy_of(self.cfg).kind == 'zero':
                map_location = 'cpu'  # the full state; the optimizer takes its shard to the device
            return super().load_checkpoint(filename, map_location, strict, revise_keys)
        if filename != self._load_from:
            raise RunError(
                f'{filename} cannot be loaded any more: with strategy.type=fsdp a model takes weights '
                'before it is sharded; name the file in load_from'
            )
        checkpoint = _load_checkpoint(filename, map_location='cpu')
        if 'optimizer' in checkpoint and isinstance(self.optim_wrapper, OptimWrapper):
            shard_optimizer_state(checkpoint['optimizer'], self.optim_wrapper.optimizer)
        return checkpoint

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume a run; arguments as for mmengine's."""
        super().resume(filename, *args, **kwargs)
        optimizer = getattr(self.optim_wrapper, 'optimizer', None)
        if isinstance(optimizer, ZeroRedundancyOptimizer):
            optimizer.state.clear()  # a second copy, that torch's loading leaves; optimizer.optim has the state

    def save_checkpoint(
        self, out_dir: str, filename: str, *args: Any, save_optimizer: bool = True, **kwargs: Any
    ) -> None:
        """Save a checkpoint; arguments as for mmengine's. All processes must call."""
        with ExitStack() as answers:
            if is_sharded(self.model):
                answers.enter_context(_state_dict_replaced(self.model, gather_state_dict(self.model.state_dict())))
                if save_optimizer:
                    answers.enter_context(
                        _state_dict_replaced(self.optim_wrapper, gather_state_dict(self.optim_wrapper.state_dict()))
                    )
            elif save_optimizer and isinstance(getattr(self.optim_wrapper, 'optimizer', None), ZeroRedundancyOptimizer):
                answers.enter_context(_state_dict_replaced(self.optim_wrapper, self.optim_wrapper.state_dict()))
            super().save_checkpoint(out_dir, filename, *args, save_optimizer=save_optimizer, **kwargs)


def local_numel(tensors: Iterator[torch.Tensor]) -> int:
    """How many numbers of tensors, shards or full, this process holds."""
    return sum((t.to_local() if _is_dtensor(t) else t).numel() for t in tensors)
