"""Copy a run's model to where the function serves it."""

import shutil
from pathlib import Path

from safetensors.torch import load_file

from birds.classifier import Classifier
from fieldmark.errors import RunError
from fieldmark.files import atomic_path
from fieldmark.network.weights import weights_digest
from fieldmark.run import Run

PUBLISHED = Path("azure_function/model")


def publish(folder: Path, to: Path = PUBLISHED) -> str:
    """Copy the files of a run that belong together and passed the gate; return name and version.

    Raises RunError for missing or mixed files, ModelError for a model file that does not load.
    """
    run = Run(folder)
    if missing := [file.name for file in run.model_files if not file.is_file()]:
        raise RunError(f"{folder} lacks {', '.join(missing)}. `fieldmark train` writes them.")
    card = Classifier(run.model_file).card
    if not card.get("gate"):
        raise RunError(
            f"{run.model_file} has not passed the gate. Run `fieldmark export {folder}`."
        )
    digest = weights_digest(load_file(run.weights_file))
    if card["recipe"] != run.recipe or not card["version"].endswith(digest[:8]):
        raise RunError(
            f"The files in {folder} are of several runs: the model file has another recipe or "
            f"other weights. Run `fieldmark export {folder}`."
        )
    for file in run.model_files:
        with atomic_path(to / file.name) as scratch:
            shutil.copyfile(file, scratch)
    return f"{card['name']} {card['version']}"
