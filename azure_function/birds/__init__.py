"""Classify birds in photos with one ONNX file; needs no torch, disk or network."""

import os

# From version 1.29 onnxruntime reports each session to its maker, unless this is set
# before it is loaded: https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
