"""Write a species model and a finder in formats beside ONNX, through the gate, and load them."""

from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from birds import finder as finder_file
from birds import model_file
from birds.classifier import Classifier
from birds.drawn import awkward_photos
from birds.finder import Finder
from birds.identifier import Identifier
from birds.sessions import load_errors
from export import finder_gate
from export.checks import check_classifier
from export.finder_input import example_input
from export.formats import convert_graph, load_runtime
from export.graph import Graph
from export.verification import Expected, verify
from fieldmark.finder.boxes import FinderGraph
from fieldmark.finder.detector import Detector
from fieldmark.run_folder import FORMAT_SUFFIXES

GATE_PHOTOS = 60  # held-out photos with which a copy of a finder is checked


def write_all(
    formats: Collection[str],
    graph: Graph,
    card: dict,
    folder: Path,
    expected: Expected,
    detector: Detector | None,
) -> None:
    """Write a species model and the network of its finder, if any, in some formats.

    Raises ModelFileError or GateError.
    """
    finder = expected.held_out.finder
    for format in formats:
        write_classifier(format, graph, card, folder, expected)
        if finder and detector:
            photos = expected.held_out.sample_versions(GATE_PHOTOS) | awkward_photos()
            write_finder(format, detector, finder, folder, photos)


def write_classifier(
    format: str, graph: Graph, card: dict, folder: Path, expected: Expected
) -> None:
    """Write the graph of a species model in a format, with its card and a `gate` of its own.

    Raises ModelFileError or GateError as `verify_file` does; the file is there then.
    """
    file = folder / f"birds{FORMAT_SUFFIXES[format]}"
    size = card["preparation"]["size"]
    photo = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    axes = {0: torch.export.Dim("N")}
    write = convert_graph(format, graph, list(model_file.OUTPUTS), photo, axes)
    write(card, file)
    classifier = load_classifier(file)
    alone = check_classifier(classifier, expected.sample_photos())
    _, gate = verify(Identifier(classifier, expected.held_out.finder), None, alone, expected)
    write(card | {"format": format, "gate": gate}, file)
    load_classifier(file)  # raises ModelError unless the file loads with its final card


def write_finder(
    format: str, detector: Detector, finder: Finder, folder: Path, photos: Mapping[str, bytes]
) -> None:
    """Write a finder's graph in a format, with the card of the ONNX file and a `gate` of its own.

    The card's `onnx_sha256` is the digest of that file, by which a species model names its finder.
    Raises ModelFileError or GateError as `finder_gate.check_gate` does; the file is there then.
    """
    file = folder / f"finder{FORMAT_SUFFIXES[format]}"
    facts = {"format": format, "onnx_sha256": finder.sha256}
    graph, names = FinderGraph(detector).eval(), list(finder_file.OUTPUTS)
    write = convert_graph(format, graph, names, *example_input())
    write(finder.card | facts, file)
    _, gate = finder_gate.check_gate(load_finder(file), detector, photos)
    write(finder.card | facts | {"gate": gate}, file)
    load_finder(file)  # raises ModelError unless the file loads with its final card


def load_classifier(path: Path) -> Classifier:
    """Load a species model in another format than ONNX; raises ModelError as Classifier does."""
    model_file.check_file(path)
    with load_errors(path):
        runtime, metadata = load_runtime(path)
        card = model_file.parse_card(metadata, path.name)
        size = card["preparation"]["size"]  # that of the graph is checked by the drawn photo
        card = model_file.read_card(metadata, size, path.name)
        return Classifier.with_runtime(runtime, card)


def load_finder(path: Path) -> Finder:
    """Load a finder in another format than ONNX; raises ModelError as Finder does."""
    model_file.check_file(path)
    with load_errors(path):
        runtime, metadata = load_runtime(path)
        card = finder_file.read_card(metadata, path.name)
        return Finder.with_runtime(runtime, card, card["onnx_sha256"])


def load_card(path: Path) -> dict:
    """Return the card of a species model or a finder; raises ModelError for any other file."""
    model_file.check_file(path)
    with load_errors(path):
        _, metadata = load_runtime(path)
        is_finder = model_file.parse_card(metadata, path.name).get("kind") == "finder"
    return (load_finder if is_finder else load_classifier)(path).card
