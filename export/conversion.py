"""Convert the graphs of a species model and of its finder to formats beside ONNX."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from birds import finder, model_file
from export.finder_input import example_input
from export.formats import WriteFile, convert_graph
from export.graph import Graph
from export.weights_dtype import DEFAULT
from fieldmark.errors import ExportError
from fieldmark.finder.boxes import FinderGraph
from fieldmark.finder.detector import Detector
from fieldmark.network.network import Network


class Conversion(NamedTuple):
    """A species model, and the network of its finder if any, converted to a format."""

    format: str
    write_model: WriteFile
    write_finder: WriteFile | None


def convert_models(
    formats: Collection[str],
    graph: Graph,
    network: Network,
    weights_dtype: str,
    detector: Detector | None,
) -> list[Conversion]:
    """Convert the graph of a network, and the detector of its finder, if any, to some formats.

    Raises ExportError for one that cannot be converted.
    """
    size, axes = network.preparation.size, {0: torch.export.Dim("N")}
    photo, outputs = torch.zeros(2, size, size, 3, dtype=torch.uint8), list(model_file.OUTPUTS)
    conversions = []
    for format in formats:
        with conversion_errors(f"`{network.arch}`", format):
            write = convert_graph(format, graph, outputs, photo, axes, weights_dtype)
        write_finder = convert_finder(format, detector) if detector else None
        conversions.append(Conversion(format, write, write_finder))
    return conversions


def convert_finder(format: str, detector: Detector) -> WriteFile:
    """Convert the graph of a finder to a format; raises ExportError if torch cannot."""
    graph, outputs = FinderGraph(detector).eval(), list(finder.OUTPUTS)
    with conversion_errors("The finder", format):
        return convert_graph(format, graph, outputs, *example_input(), DEFAULT)


@contextmanager
def conversion_errors(model: str, format: str) -> Iterator[None]:
    """Turn whatever torch raises for a graph that it cannot convert into an ExportError."""
    try:
        yield
    except Exception as error:  # torch's errors share no base class
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ExportError(
            f"{model} cannot be written as {format} ({reason}). Leave out `--format {format}`."
        ) from error
