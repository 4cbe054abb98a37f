"""Predictions, metrics, uncertainty, reports and comparisons; nothing here loads fastai."""
