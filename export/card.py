"""The model card: all that serving needs to know of a model, and all that a reader should."""

import csv
import hashlib
import platform
from datetime import date
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import torch

from birds.classifier import OUTPUTS, drawn_photo
from birds.model_file import SCHEMA
from export.graph import Graph
from export.model_file import OPSET
from export.weights_dtype import DEFAULT
from fieldmark import taxonomy
from fieldmark.data.splits import check_no_leak, describe_training_photos
from fieldmark.network.network import Network
from fieldmark.network.weights import weights_digest
from fieldmark.recipe import Recipe

NAMES_FILE = Path(__file__).with_name("names.csv")
PACKAGES = ("torch", "fastai", "timm", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def describe_labels(labels: list[str]) -> list[dict]:
    """Return each label with its names, genus, family and order, None if unknown.

    The names are eBird/Clements', in names.csv. What that lacks is AviList's if the package
    `birdnames` is installed; then the labels that it does not know are printed.
    """
    with NAMES_FILE.open(encoding="utf-8", newline="") as file:
        names = {row["label"]: row for row in csv.DictReader(file)}
    described = []
    for label in labels:
        row = names.get(label, {})
        scientific = row.get("scientific_name")
        described.append(
            {
                "label": label,
                "common_name": row.get("common_name", label),
                "scientific_name": scientific,
                "genus": scientific.split()[0] if scientific else None,
                "family": row.get("family"),
                "order": None,
            }
        )
    if message := taxonomy.describe_unmatched(described):
        print(message)
    return taxonomy.complete_labels(described)


def describe_recipe(recipe: Recipe, split: pd.DataFrame, run_name: str) -> dict:
    """Return the entries of a card that a recipe and the split of its photos state."""
    return {
        "name": recipe.name or run_name,
        "trained_on": describe_training_photos(split, recipe.trained_on),
        "licence": recipe.licence or "not stated; ask the owner of this model",
        "recipe": recipe.model_dump(),
    }


def describe_model(network: Network, graph: Graph, weights_dtype: str) -> dict:
    """Return the entries of a card that follow from a network and its graph."""
    size = network.preparation.size
    weights = network.stored_weights(weights_dtype)
    return {
        "schema": SCHEMA,
        "version": version_of(weights, weights_dtype),
        "architecture": network.arch,
        "labels": describe_labels(network.labels),
        "preparation": network.preparation.to_card(),
        "temperature": graph.outputs.temperature,
        "weights_dtype": weights_dtype,
        "heatmap": graph.outputs.map_size,
        "thresholds": None,
        "drawn_photo": describe_drawn_photo(graph, size),
        "tolerance": None,
        "opset": OPSET,
        "versions": package_versions(),
    } | {key: getattr(network, key) for key in ("members", "subclasses") if getattr(network, key)}


def describe_drawn_photo(graph: Graph, size: int) -> dict[str, list]:
    """Return what torch computes for the drawn photo; the classifier checks it when it loads."""
    with torch.no_grad():
        outputs = graph(torch.from_numpy(drawn_photo(size)[None]))
    return {
        name: torch.round(value[0], decimals=6).tolist()
        for name, value in zip(OUTPUTS, outputs, strict=True)
    }


def version_of(weights: dict[str, torch.Tensor], weights_dtype: str) -> str:
    """Return a version: the date, the weights' dtype if not the default, and their digest."""
    dtype = "" if weights_dtype == DEFAULT else f"{weights_dtype}-"
    return f"{date.today():%Y.%m.%d}-{dtype}{weights_digest(weights)[:8]}"


def describe_data(photos: pd.DataFrame, folder: Path, allow_duplicates: bool = False) -> dict:
    """Return the number of photos of each split, and a digest of paths, labels, splits and bytes.

    Raises DatasetError if a photo is in two splits, by its path or, unless `allow_duplicates`, by
    its bytes.
    """
    total, contents = hashlib.sha256(), []
    for path, label, split in photos[["path", "label", "split"]].itertuples(index=False):
        content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        total.update(f"{path}\t{label}\t{split}\t{content}\n".encode())
        contents.append(content)
    identity = photos[["path", "split"]]
    check_no_leak(identity if allow_duplicates else identity.assign(group=contents))
    counts = {split: int(n) for split, n in photos["split"].value_counts().items()}
    return {"photos": counts, "sha256": total.hexdigest()}


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that wrote the file."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
