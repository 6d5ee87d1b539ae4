"""Mixed precision: what a run asks for, and what its hardware can do.

float16 goes through mmengine's ``AmpOptimWrapper`` with its loss scaler. bfloat16 needs no scaler and also runs on
CPUs, which ``AmpOptimWrapper`` refuses; it has a wrapper of its own here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import is_cuda_available, is_musa_available, is_npu_available
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from mmswin.errors import RunError
from mmswin.registry import OPTIM_WRAPPERS

_AMP_ONLY = ('loss_scale', 'dtype', 'use_fsdp')


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Optimizer wrapper that trains under bfloat16 autocast, on GPU and CPU; the weights stay float32.

    Boxes are kept in float32: mmcv's RoIAlign and NMS have no bfloat16 kernels, and mmdet casts boxes to the type of
    the features, which at 8 bits of mantissa moves a corner at 1000 by up to 4 pixels.

    Args:
        kwargs: As for ``mmengine.optim.OptimWrapper``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._prepared: set[int] = set()

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Forward and loss of one iteration run inside this context."""
        if id(model) not in self._prepared:
            keep_boxes_float32(model)
            self._prepared.add(id(model))
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def keep_boxes_float32(model: nn.Module) -> int:
    """Have a detector of mmdet handle boxes in float32 under bfloat16 autocast.

    The feature maps that reach RoI extractors and what dense heads and box heads return are cast to float32.

    Returns:
        The number of extractors and heads found.
    """
    try:
        from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
        from mmdet.models.roi_heads.bbox_heads import BBoxHead
        from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
    except ImportError:  # segmentation without mmdet has no boxes
        return 0
    count = 0
    for module in model.modules():
        if isinstance(module, BaseRoIExtractor):
            module.register_forward_pre_hook(_features_to_float32)
        elif isinstance(module, (BaseDenseHead, BBoxHead)):
            module.register_forward_hook(_outputs_to_float32)
        else:
            continue
        count += 1
    return count


def _features_to_float32(module: nn.Module, args: tuple) -> tuple:
    return _float32(args)


def _outputs_to_float32(module: nn.Module, args: tuple, outputs: Any) -> Any:
    return _float32(outputs)


def _float32(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_float32(item) for item in value)
    return value.float() if torch.is_tensor(value) and value.dtype is torch.bfloat16 else value


def has_accelerator() -> bool:
    """Whether mmengine would train on a GPU, NPU or MUSA device rather than the CPU."""
    return is_cuda_available() or is_npu_available() or is_musa_available()


def set_precision(cfg: Config, amp: str | None) -> str:
    """Make the optimizer wrapper of ``cfg`` fit what was asked for and the hardware.

    Args:
        cfg: The config; ``cfg.optim_wrapper`` is changed.
        amp: None to follow the config, ``'auto'`` for mixed precision of the kind that suits the hardware, or
            ``'bf16'`` or ``'fp16'``.

    Returns:
        One line for the banner.

    Raises:
        RunError: float16 on a CPU, bfloat16 on a GPU without it, or a wrapper that is not known to be mixable.
    """
    wrapper = cfg.optim_wrapper
    kind = str(wrapper.get('type', 'OptimWrapper')).rpartition('.')[2]
    on_gpu = has_accelerator()
    if amp is None:
        if kind == 'AmpOptimWrapper' and not on_gpu:
            _use(cfg, 'OptimWrapper')
            return 'float32 (no GPU: the mixed precision of the config is off; --amp bf16 turns bfloat16 on)'
        if kind == 'AmpOptimWrapper':
            return f'{wrapper.get("dtype") or "float16"} autocast, loss scale {wrapper.get("loss_scale", "dynamic")}'
        return 'bfloat16 autocast' if kind == 'BFloat16OptimWrapper' else 'float32'
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'BFloat16OptimWrapper'):
        raise RunError(
            f'--amp changes OptimWrapper into a mixed-precision one, but optim_wrapper.type is {kind!r}; '
            'set the precision in the config'
        )
    if amp == 'auto':
        amp = 'bf16' if not on_gpu or not is_cuda_available() or torch.cuda.is_bf16_supported() else 'fp16'
    if amp == 'bf16':
        if is_cuda_available() and not torch.cuda.is_bf16_supported():
            raise RunError(f'--amp bf16: {torch.cuda.get_device_name()} has no bfloat16; use --amp fp16')
        _use(cfg, 'mmswin.BFloat16OptimWrapper')
        return 'bfloat16 autocast (weights float32)'
    if not on_gpu:
        raise RunError(
            '--amp fp16 needs a GPU: mmengine trains on CPUs in float32 or bfloat16 only; use --amp bf16 or '
            'leave --amp out'
        )
    _use(cfg, 'AmpOptimWrapper')
    wrapper.setdefault('loss_scale', 'dynamic')
    wrapper.dtype = 'float16'
    return f'float16 autocast, loss scale {wrapper.loss_scale}'


def _use(cfg: Config, wrapper_type: str) -> None:
    for name in _AMP_ONLY:
        if wrapper_type != 'AmpOptimWrapper':
            cfg.optim_wrapper.pop(name, None)
    cfg.optim_wrapper.type = wrapper_type
