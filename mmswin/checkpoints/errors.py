"""What goes wrong with checkpoints."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or is not for this network; the message says why and what to do."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint that holds a type which could run code when it is read; the message names the type."""
