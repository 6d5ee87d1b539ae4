"""Hooks for mmengine's Runner: a run's banner, its checkpoints, its end when it diverges or by a signal."""

from mmswin.hooks.checkpoint import CheckpointHook
from mmswin.hooks.non_finite_loss import NonFiniteLossHook
from mmswin.hooks.run_banner import RunBannerHook
from mmswin.hooks.stop_on_signal import StopOnSignalHook, TrainingStopped

__all__ = ['CheckpointHook', 'NonFiniteLossHook', 'RunBannerHook', 'StopOnSignalHook', 'TrainingStopped']
