"""Pictures of predictions beside the truth, and curves of a training run."""
