"""Name the bird in a photo with one ONNX file: no torch, no disk, no network."""
