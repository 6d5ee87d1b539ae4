"""What the tools do: options, checks before a run, precision, resuming, testing."""

from mmswin.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmswin.runner.precision import BFloat16OptimWrapper

__all__ = ['BFloat16OptimWrapper', 'EpochBasedTrainLoop', 'IterBasedTrainLoop']
