"""Worker processes that decode photos, limited in memory and time."""
