"""Helpers of benchmarks/run.py: what is timed, the processes that do it, and what their figures say."""
