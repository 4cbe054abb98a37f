"""Turn a trained network into birds.onnx, and check that the file predicts the same."""
