"""Triton kernels of window attention for GPUs."""
