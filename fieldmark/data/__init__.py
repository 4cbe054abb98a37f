"""Data sets, quality checks, splits, the pixel cache and DataLoaders."""
