"""Checkpoints of any recognised format: reading, translation, resizing, and the report of a load."""

from mmswin.checkpoints.loading import LoadReport, load_weights
from mmswin.checkpoints.untrusted import load_file
from mmswin.errors import CheckpointError

__all__ = ['CheckpointError', 'LoadReport', 'load_file', 'load_weights']
