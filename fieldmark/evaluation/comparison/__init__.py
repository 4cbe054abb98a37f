"""Compare finished runs on the same photos."""
