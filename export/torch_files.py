"""Write a species model and a finder in formats beside ONNX, through the gate, and load them."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from birds.classifier import Classifier
from birds.drawn import awkward_photos
from birds.finder import Finder
from birds.identifier import Identifier
from birds.model_file import ModelError
from birds.sessions import load_errors
from export import finder_gate
from export.archive_card import read_finder_card, read_species_card
from export.checks import check_classifier
from export.conversion import Conversion
from export.formats import WriteFile, load_runtime
from export.verification import Expected, verify_identifier
from fieldmark.errors import GateError
from fieldmark.finder.detector import Detector
from fieldmark.run_folder import FORMAT_SUFFIXES

GATE_PHOTOS = 60  # held-out photos with which a copy of a finder is checked


def write_copies(
    conversions: Collection[Conversion],
    card: dict,
    folder: Path,
    expected: Expected,
    detector: Detector | None,
) -> None:
    """Write converted models with the `card` of the ONNX file, and check them at the gate.

    A species model is checked with the finder of its own format. Raises GateError or ModelError,
    which name the file; it is there then.
    """
    original = expected.held_out.finder
    photos = {}
    if original and detector and conversions:
        photos = expected.held_out.sample_versions(GATE_PHOTOS) | awkward_photos()
    for format, write_model, write_finder in conversions:
        finder = None
        if original and detector and write_finder:
            finder = write_finder_copy(format, write_finder, detector, original, folder, photos)
        write_model_copy(format, write_model, card, folder, expected, finder)


def write_model_copy(
    format: str,
    write: WriteFile,
    card: dict,
    folder: Path,
    expected: Expected,
    finder: Finder | None,
) -> None:
    """Write a converted species model with a `gate` of its own, which it passed with a finder.

    Raises GateError or ModelError, which name the file; it is there then.
    """
    file, card = folder / f"birds{FORMAT_SUFFIXES[format]}", describe_copy(card, format)
    with errors_of(file):
        write(card, file)
        classifier = load_torch_classifier(file)
        alone = check_classifier(classifier, expected.sample_photos())
        _, gate = verify_identifier(Identifier(classifier, finder), alone, expected)
        write(card | {"gate": gate}, file)
        load_torch_classifier(file)  # raises ModelError unless it loads with its final card


def write_finder_copy(
    format: str,
    write: WriteFile,
    detector: Detector,
    original: Finder,
    folder: Path,
    photos: Mapping[str, bytes],
) -> Finder:
    """Write a converted finder with a `gate` of its own, and return it.

    Its card is that of the `original` ONNX file, whose digest is `onnx_sha256` there, by which a
    species model names its finder. Raises GateError or ModelError, which name the file; it is there
    then.
    """
    file = folder / f"finder{FORMAT_SUFFIXES[format]}"
    card = describe_copy(original.card, format) | {"onnx_sha256": original.sha256}
    with errors_of(file):
        write(card, file)
        _, gate = finder_gate.check_gate(load_torch_finder(file), detector, photos)
        write(card | {"gate": gate}, file)
        return load_torch_finder(file)


def describe_copy(card: dict, format: str) -> dict:
    """Return the card of an ONNX file as that of a file in another format, which has no opset."""
    return {key: value for key, value in card.items() if key != "opset"} | {"format": format}


def load_torch_classifier(path: Path) -> Classifier:
    """Load a species model in another format than ONNX; raises ModelError as Classifier does."""
    card = read_species_card(path)
    with load_errors(path):
        return Classifier.with_runtime(load_runtime(path), card)


def load_torch_finder(path: Path) -> Finder:
    """Load a finder in another format than ONNX; raises ModelError as Finder does."""
    card = read_finder_card(path)
    with load_errors(path):
        return Finder.with_runtime(load_runtime(path), card, card["onnx_sha256"])


@contextmanager
def errors_of(file: Path) -> Iterator[None]:
    """Put a file's name before the messages of GateError and ModelError, and into the report."""
    try:
        yield
    except GateError as error:
        error.report.insert(0, "file", file.name)
        raise GateError(f"{file.name}: {error}", error.report) from error
    except ModelError as error:
        if file.name in str(error):
            raise
        raise type(error)(f"{file.name}: {error}") from error
