"""Hooks for mmengine's Runner: the banner of a run, the end of a run that diverges, the end by a signal."""

from mmswin.hooks.non_finite_loss import NonFiniteLossHook
from mmswin.hooks.run_banner import RunBannerHook
from mmswin.hooks.stop_on_signal import StopOnSignalHook, TrainingStopped

__all__ = ['NonFiniteLossHook', 'RunBannerHook', 'StopOnSignalHook', 'TrainingStopped']
