"""Copy a run's model to where the function serves it."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import load_file

from birds.classifier import Classifier
from birds.finder import Finder
from fieldmark.errors import RunError
from fieldmark.files import atomic_path
from fieldmark.finder.finder_run import FinderRun
from fieldmark.network.weights import weights_digest
from fieldmark.run import Run
from fieldmark.run_folder import read_weights_card

PUBLISHED = Path("azure_function/model")


def publish(folder: Path, to: Path = PUBLISHED) -> str:
    """Copy the files of a run that belong together and passed the gate; return name and version.

    The run is that of a species model or of a finder. Raises RunError for missing or mixed files,
    ModelError for a model file that does not load.
    """
    run, finder = Run(folder), FinderRun(folder)
    if finder.model_file.is_file() and not run.model_file.is_file():
        return publish_finder(finder, to)
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
    copy_files(run.model_files, to, Run(to).further_files)
    return f"{card['name']} {card['version']}"


def publish_finder(run: FinderRun, to: Path) -> str:
    """Copy a finder and its weights; return name and version."""
    card = Finder(run.model_file).card
    if not run.weights_file.is_file() or card != read_weights_card(run.weights_file):
        raise RunError(
            f"{run.model_file} and {run.weights_file.name} are not of one run that has passed the "
            "gate. `fieldmark train-finder` writes both."
        )
    copy_files((run.model_file, run.weights_file), to, FinderRun(to).further_files)
    return f"{card['name']} {card['version']}"


def copy_files(files: Iterable[Path], to: Path, outdated: Iterable[Path]) -> None:
    """Copy files into a folder, each atomically; first remove those of the model before.

    `outdated` are its files in other formats, which nothing publishes.
    """
    for file in outdated:
        file.unlink(missing_ok=True)
    for file in files:
        with atomic_path(to / file.name) as scratch:
            shutil.copyfile(file, scratch)
