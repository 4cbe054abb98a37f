"""What the photos of a run lack."""
