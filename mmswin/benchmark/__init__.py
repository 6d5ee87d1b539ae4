"""Speed and memory of the backbone beside its peers, measured in one run."""
