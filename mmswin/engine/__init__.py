"""What a run needs: configuration, checks beforehand, loops, hooks, saving, stopping, precision, optimizers."""

from mmswin.engine.banner import RunBannerHook
from mmswin.engine.checkpoint_hook import CheckpointHook
from mmswin.engine.class_pictures import ClassPicturesHook
from mmswin.engine.layer_decay import LayerDecayOptimWrapperConstructor
from mmswin.engine.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmswin.engine.muon import Muon
from mmswin.engine.non_finite_loss import NonFiniteLossHook
from mmswin.engine.precision import BFloat16OptimWrapper, OptimWrapperConstructor
from mmswin.engine.stopping import StopOnSignalHook, TrainingStopped

__all__ = [
    'BFloat16OptimWrapper',
    'CheckpointHook',
    'ClassPicturesHook',
    'EpochBasedTrainLoop',
    'IterBasedTrainLoop',
    'LayerDecayOptimWrapperConstructor',
    'Muon',
    'NonFiniteLossHook',
    'OptimWrapperConstructor',
    'RunBannerHook',
    'StopOnSignalHook',
    'TrainingStopped',
]
