"""Read the card of a file in a format of PyTorch; loading the whole file may run code in it."""

import zipfile
from pathlib import Path

from birds import finder, model_file
from birds.model_file import MAX_CARD, ModelError
from birds.sessions import load_errors
from fieldmark.run_folder import FORMAT_SUFFIXES

ENTRY = "/extra/card"  # below a folder of any name
MAX_BYTES = 4 * MAX_CARD  # of UTF-8


def load_card(path: Path) -> dict:
    """Return the card of a species model or a finder; raises ModelError for any other file."""
    metadata = read_metadata(path)
    is_finder = model_file.parse_card(metadata, path.name).get("kind") == "finder"
    return read_finder_card(path) if is_finder else read_species_card(path)


def read_species_card(path: Path) -> dict:
    """Return the card of a species model; raises ModelError for a file of another kind.

    Its graph has no size that can be read: the drawn photo shows whether the card's is right.
    """
    metadata = read_metadata(path)
    preparation = model_file.parse_card(metadata, path.name).get("preparation")
    size = preparation.get("size") if isinstance(preparation, dict) else 0
    return check_format(model_file.read_card(metadata, size, path.name), path)


def read_finder_card(path: Path) -> dict:
    """Return the card of a finder; raises ModelError for a file of another kind."""
    return check_format(finder.read_card(read_metadata(path), path.name), path)


def read_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a file as an ONNX file has them: its card, if any, as text.

    Raises ModelError for a file that is missing, damaged, or no archive.
    """
    model_file.check_file(path)
    with load_errors(path), zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if entry.filename.endswith(ENTRY)]
        if not entries:
            return {}
        if entries[0].file_size > MAX_BYTES:
            raise ModelError(f"The card of {path.name} is too large. Shorten its entries.")
        return {"card": archive.read(entries[0]).decode()}


def check_format(card: dict, path: Path) -> dict:
    """Return a card; raise ModelError unless the name of its file ends as its format requires."""
    suffix = FORMAT_SUFFIXES.get(str(card.get("format")))
    if not suffix or not path.name.endswith(suffix):
        raise ModelError(
            f"{path.name} has the format `{card.get('format')}` according to its card, and another "
            "one by its name. Give it the name under which it was exported."
        )
    return card


def find_format(path: Path) -> str:
    """Return the format of a file by the ending of its name."""
    return next(name for name, suffix in FORMAT_SUFFIXES.items() if path.name.endswith(suffix))
