"""Optimizer-wrapper constructor of the recipes: mmengine's, on machines without an accelerator too."""

import logging

import torch.nn as nn
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper

from mmswin.engine.precision import without_amp
from mmswin.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class OptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's default constructor, which also builds an ``AmpOptimWrapper`` recipe where there is no accelerator.

    mmengine refuses ``AmpOptimWrapper`` on a machine that has a CPU alone. The recipes ask for mixed precision, so that
    refusal would keep them from running there; this constructor then builds a plain ``OptimWrapper`` (float32) and logs
    a warning that says so. With an accelerator it changes nothing. Arguments are those of the default constructor.
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
