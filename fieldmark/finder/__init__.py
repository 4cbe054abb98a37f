"""Train the finder, which proposes the boxes of birds in whole photos."""
