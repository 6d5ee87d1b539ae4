"""Parameters and multiply-adds of configurations, the paper's tables, and how attention's cost grows."""
