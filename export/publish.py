"""Put a run's model file where the function finds it; the run has passed the gate already."""

import shutil
from pathlib import Path

import yaml
from safetensors.torch import load_file

from birds.classifier import Classifier, ModelError
from export.exporter import FILES, digest

SHIPPED = Path("azure_function/model")


def ship(run: Path, to: Path = SHIPPED) -> str:
    """Copy a run's files, if they belong together and passed the gate; return name and version.

    Raises ModelError for a model that doesn't load or belong, FileNotFoundError for a missing file.
    """
    missing = [name for name in FILES if not (run / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{run} lacks {', '.join(missing)}: `make train` writes them.")
    card = Classifier(run / "birds.onnx").card
    if not card.get("gate"):
        raise ModelError(f"{run}/birds.onnx has not passed the gate: `make export RUN={run}`.")
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    weights = digest(load_file(run / "birds.safetensors"))
    if card["recipe"] != recipe or not card["version"].endswith(weights[:8]):
        raise ModelError(f"The files in {run} are not of one run: `make export RUN={run}`.")
    to.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        partial = to / f"{name}.partial"
        shutil.copyfile(run / name, partial)
        partial.replace(to / name)
    return f"{card['name']} {card['version']}"
