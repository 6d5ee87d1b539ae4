"""What goes wrong with checkpoints."""

from mmswin.errors import CheckpointError, UnsafeCheckpointError

__all__ = ['CheckpointError', 'UnsafeCheckpointError']
