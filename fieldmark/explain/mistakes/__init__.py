"""Mistakes explained: the most confused pairs, what separates them, and where accuracy is low."""
