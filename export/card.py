"""The model card: all that serving needs to know of a model, and all that a reader should."""

import csv
import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

import PIL
import torch

from birds import drawn, photo
from birds.classifier import OUTPUTS, drawn_photo
from export.graph import Graph

NAMES = Path(__file__).with_name("names.csv")
PACKAGES = ("torch", "fastai", "timm", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def labels(vocab: list[str]) -> list[dict]:
    """Look up the facts of each label: common and scientific name, genus, family; None if unknown.

    The names are eBird/Clements', in names.csv.
    """
    with NAMES.open(encoding="utf-8", newline="") as file:
        known = {row["label"]: row for row in csv.DictReader(file)}
    found = []
    for label in vocab:
        row = known.get(label, {})
        scientific = row.get("scientific_name")
        found.append(
            {
                "label": label,
                "common_name": row.get("common_name", label),
                "scientific_name": scientific,
                "genus": scientific.split()[0] if scientific else None,
                "family": row.get("family"),
            }
        )
    return found


def preparation(size: int, filter: str, graph: Graph) -> dict:
    """Record how a photo becomes pixels, and the fingerprint by which a change is seen."""
    return {
        "size": size,
        "filter": filter,
        "mean": graph.pixel_mean.ravel().tolist(),
        "std": graph.pixel_std.ravel().tolist(),
        "sha256": fingerprints(size, filter),
        "pillow": PIL.__version__,
    }


def fingerprints(size: int, filter: str) -> dict[str, str]:
    """Return the SHA-256 of `prepare` on each of the eight awkward drawn photos."""
    return {
        name: hashlib.sha256(photo.prepare(data, size, filter).tobytes()).hexdigest()
        for name, data in drawn.awkward_photos().items()
    }


def drawn_outputs(graph: Graph, size: int) -> dict[str, list]:
    """Record what torch answers for the drawn photo; the classifier checks it at load."""
    with torch.no_grad():
        outputs = graph(torch.from_numpy(drawn_photo(size)[None]))
    return {
        name: torch.round(value[0], decimals=6).tolist()
        for name, value in zip(OUTPUTS, outputs, strict=True)
    }


def versions() -> dict[str, str]:
    """Return the versions that made the file."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
