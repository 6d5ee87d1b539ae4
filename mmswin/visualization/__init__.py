"""Pictures of predictions next to the truth, and curves of a training run."""
