"""Optimizer-wrapper constructor of the recipes: mmengine's, on machines without an accelerator too."""

import logging

import torch.nn as nn
from mmengine.device import is_cuda_available, is_mlu_available, is_musa_available, is_npu_available
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper

from mmswin.registry import OPTIM_WRAPPER_CONSTRUCTORS

# Arguments that AmpOptimWrapper has and OptimWrapper lacks.
_AMP_ONLY = ('loss_scale', 'dtype', 'use_fsdp')


def mixed_precision_available() -> bool:
    """Whether mmengine's ``AmpOptimWrapper`` can be built here: it needs a CUDA, NPU, MLU or MUSA device."""
    return is_cuda_available() or is_npu_available() or is_mlu_available() or is_musa_available()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor, which also builds an ``AmpOptimWrapper`` recipe where there is no accelerator.

    mmengine refuses ``AmpOptimWrapper`` on a machine that has a CPU alone. The recipes ask for mixed precision, so that
    refusal would keep them from running there; this constructor then builds a plain ``OptimWrapper`` (float32) and logs
    a warning that says so. With an accelerator it changes nothing. Arguments are those of the default constructor.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        name = self.optim_wrapper_cfg.get('type')
        if isinstance(name, str) and name.split('.')[-1] == 'AmpOptimWrapper' and not mixed_precision_available():
            print_log(
                'No GPU (or NPU, MLU, MUSA) here, so mixed precision is off: training in float32 with OptimWrapper '
                'where the configuration asks for AmpOptimWrapper.',
                logger='current',
                level=logging.WARNING,
            )
            kept = {key: value for key, value in self.optim_wrapper_cfg.items() if key not in _AMP_ONLY}
            self.optim_wrapper_cfg = {**kept, 'type': 'OptimWrapper'}
        return super().__call__(model)
