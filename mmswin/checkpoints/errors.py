"""What goes wrong with checkpoints."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, or is not for this network; the message says why and what to do."""
