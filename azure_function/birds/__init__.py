"""Classify birds in photos with one ONNX file; needs no torch, disk or network."""
