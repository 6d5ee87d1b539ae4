"""Checkpoints of any recognised format: reading, translation, resizing, and the report of a load."""

from mmswin.checkpoints.errors import CheckpointError
from mmswin.checkpoints.files import load_file
from mmswin.checkpoints.loading import LoadReport, load_weights

__all__ = ['CheckpointError', 'LoadReport', 'load_file', 'load_weights']
