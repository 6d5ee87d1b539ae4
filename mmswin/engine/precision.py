"""Mixed precision: what a run asks for, and what its hardware can do.

float16 goes through mmengine's ``AmpOptimWrapper`` with its loss scaler. bfloat16 needs no scaler and also runs on
CPUs, which ``AmpOptimWrapper`` refuses; it has a wrapper of its own here.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any
from weakref import WeakSet

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import is_cuda_available, is_mlu_available, is_musa_available, is_npu_available
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from mmswin.data.config_facts import short_name
from mmswin.errors import RunError
from mmswin.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS

_AMP_ONLY = ('loss_scale', 'dtype', 'use_fsdp')


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Optimizer wrapper that trains under bfloat16 autocast, on GPU and CPU; the weights stay float32.

    Boxes are kept in float32: mmcv's RoIAlign and NMS have no bfloat16 kernels, and mmdet casts boxes to the type of
    the features, which at 8 bits of mantissa moves a corner at 1000 by up to 4 pixels. Arguments are those of
    ``mmengine.optim.OptimWrapper``.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward and loss of one iteration run inside this context."""
        with super().optim_context(model), mixed_precision(model):
            yield


@contextmanager
def mixed_precision(model: nn.Module, dtype: torch.dtype = torch.bfloat16) -> Iterator[None]:
    """Run a model under autocast, with what needs it in float32, see :func:`keep_boxes_float32`."""
    if model not in _prepared:
        keep_boxes_float32(model)
        _prepared.add(model)
    with autocast(dtype=dtype):
        yield


_prepared: WeakSet[nn.Module] = WeakSet()


def keep_boxes_float32(model: nn.Module) -> int:
    """Have a detector of mmdet handle boxes and masks in float32 under autocast.

    The feature maps that reach RoI extractors and what dense heads, box heads and mask heads return are cast to
    float32; operators of mmcv, which have no bfloat16 kernels, compute in float32. Returns the number of such modules.
    """
    count = 0
    for module in list(model.modules()):
        places = [base.__module__ for base in type(module).__mro__]
        if any(place.startswith('mmdet.models.roi_heads.roi_extractors') for place in places):
            module.register_forward_pre_hook(lambda module, args: _float32(args))
        elif any(place.startswith(_HEADS) for place in places):
            module.register_forward_hook(lambda module, args, outputs: _float32(outputs))
        elif any(place.startswith('mmcv.ops') for place in places):
            module.forward = _in_float32(module.forward)
        else:
            continue
        count += 1
    return count


_HEADS = ('mmdet.models.dense_heads', 'mmdet.models.roi_heads.bbox_heads', 'mmdet.models.roi_heads.mask_heads')


def _in_float32(forward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        with autocast(enabled=False):
            return forward(*_float32(args), **{name: _float32(value) for name, value in kwargs.items()})

    return run


def _float32(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_float32(item) for item in value)
    return value.float() if torch.is_tensor(value) and value.dtype in (torch.bfloat16, torch.float16) else value


def is_slower(dtype: torch.dtype) -> bool:
    """Whether this machine computes in a low precision without instructions for it, and so no faster."""
    supported = getattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', None)  # absent from a torch without oneDNN
    return not has_accelerator() and dtype is torch.bfloat16 and supported is not None and not supported()


def has_accelerator() -> bool:
    """Whether mmengine would train on a GPU, NPU, MLU or MUSA device rather than the CPU."""
    return is_cuda_available() or is_npu_available() or is_mlu_available() or is_musa_available()


def without_amp(wrapper: Mapping[str, Any]) -> dict[str, Any] | None:
    """The float32 form of an ``AmpOptimWrapper``, which mmengine refuses without an accelerator; None if there is one."""
    if has_accelerator() or short_name(wrapper.get('type')) != 'AmpOptimWrapper':
        return None
    return {**{key: value for key, value in wrapper.items() if key not in _AMP_ONLY}, 'type': 'OptimWrapper'}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor, which also builds a recipe with ``AmpOptimWrapper`` where there is no accelerator.

    mmengine refuses that wrapper there; this builds a plain ``OptimWrapper`` (float32) and logs a warning that says so.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        plain = without_amp(self.optim_wrapper_cfg)
        if plain is not None:
            print_log(
                'No GPU (or NPU, MLU, MUSA) here, so mixed precision is off: training in float32 with OptimWrapper '
                'where the configuration asks for AmpOptimWrapper.',
                logger='current',
                level=logging.WARNING,
            )
            self.optim_wrapper_cfg = plain
        return super().__call__(model)


def set_precision(cfg: Config, amp: str | None) -> str:
    """Make the optimizer wrapper of ``cfg`` fit what was asked for and the hardware.

    Args:
        cfg: The config; ``cfg.optim_wrapper`` is changed.
        amp: None to follow the config, else as for :func:`autocast_type`.

    Returns:
        One line for the banner.

    Raises:
        RunError: A wrapper that is not known to be mixable; and see :func:`autocast_type`.
    """
    wrapper = cfg.optim_wrapper
    kind = short_name(wrapper.get('type', 'OptimWrapper'))
    if amp is None:
        plain = without_amp(wrapper)
        if plain is not None:
            cfg.optim_wrapper = ConfigDict(plain)
            return 'float32 (no GPU: the mixed precision of the config is off; --amp bf16 turns bfloat16 on)'
        if kind == 'AmpOptimWrapper':
            return f'{wrapper.get("dtype") or "float16"} autocast, loss scale {wrapper.get("loss_scale", "dynamic")}'
        return 'bfloat16 autocast' if kind == 'BFloat16OptimWrapper' else 'float32'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise RunError(
            f'--amp changes OptimWrapper into a mixed-precision one, but optim_wrapper.type is {kind!r}; '
            'set the precision in the config'
        )
    if autocast_type(amp) is torch.bfloat16:
        kept = {key: value for key, value in wrapper.items() if key not in _AMP_ONLY}
        cfg.optim_wrapper = ConfigDict({**kept, 'type': 'mmswin.BFloat16OptimWrapper'})
        return 'bfloat16 autocast (weights float32)'
    wrapper.type = 'AmpOptimWrapper'
    wrapper.setdefault('loss_scale', 'dynamic')
    wrapper.dtype = 'float16'
    return f'float16 autocast, loss scale {wrapper.loss_scale}'


def autocast_type(amp: str) -> torch.dtype:
    """The type that ``--amp auto``, ``bf16`` or ``fp16`` stands for on this machine.

    Raises:
        RunError: float16 on a CPU, or bfloat16 on a GPU without it.
    """
    lacking = is_cuda_available() and not torch.cuda.is_bf16_supported()
    # Since torch 2.4 GPUs pass that only emulate it.
    slow = lacking or (is_cuda_available() and not torch.version.hip and torch.cuda.get_device_capability() < (8, 0))
    if amp == 'fp16' or (amp == 'auto' and slow):
        if has_accelerator():
            return torch.float16
        raise RunError('--amp fp16 needs a GPU: on CPUs it is float32 or bfloat16; use --amp bf16 or leave --amp out')
    if lacking:
        raise RunError(f'--amp bf16: {torch.cuda.get_device_name()} has no bfloat16; use --amp fp16')
    return torch.bfloat16
