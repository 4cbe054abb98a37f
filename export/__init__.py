"""Turn a trained network into birds.onnx, and check that the file predicts the same."""

import birds as birds  # first, since it switches off the telemetry of onnxruntime
