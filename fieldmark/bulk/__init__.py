"""Classify many photos, and turn the results into tables, counts and reports; without torch."""
