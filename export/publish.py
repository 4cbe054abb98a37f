"""Put a run's model file where the function finds it; the run has passed the gate already."""

import shutil
from pathlib import Path

from safetensors.torch import load_file

from birds.classifier import Classifier, ModelError
from export.exporter import digest
from fieldmark.errors import RunError
from fieldmark.files import atomic_path
from fieldmark.run import Run

SHIPPED = Path("azure_function/model")


def ship(run: Path, to: Path = SHIPPED) -> str:
    """Copy a run's files, if they belong together and passed the gate; return name and version.

    Raises ModelError for a model that does not load or fit, RunError for a missing file.
    """
    source = Run(run)
    if missing := [file.name for file in source.model_files if not file.is_file()]:
        raise RunError(f"{run} lacks {', '.join(missing)}: `fieldmark train` writes them.")
    card = Classifier(source.model_file).card
    if not card.get("gate"):
        raise ModelError(f"{run}/birds.onnx has not passed the gate: `make export RUN={run}`.")
    weights = digest(load_file(source.weights_file))
    if card["recipe"] != source.recipe or not card["version"].endswith(weights[:8]):
        raise ModelError(f"The files in {run} are not of one run: `make export RUN={run}`.")
    to.mkdir(parents=True, exist_ok=True)
    for file in source.model_files:
        with atomic_path(to / file.name) as scratch:
            shutil.copyfile(file, scratch)
    return f"{card['name']} {card['version']}"
