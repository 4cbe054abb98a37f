"""Report a run to TensorBoard or ClearML while it trains."""
