"""Report a run to CSV, TensorBoard or ClearML while it trains."""
