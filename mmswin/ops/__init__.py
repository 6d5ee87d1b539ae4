"""Pure functions on tensors; torch only."""
