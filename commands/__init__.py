"""The `fieldmark` command line, one short module for each command."""

from pathlib import Path

PUBLISHED_MODEL = Path(__file__).parents[1] / "azure_function/model/birds.onnx"
