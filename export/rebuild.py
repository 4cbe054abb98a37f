"""Export a run's birds.onnx again from its weights and split, without training."""

from collections.abc import Collection
from pathlib import Path

from export.card import describe_recipe
from export.exporter import export_model
from export.weights_dtype import DEFAULT
from fieldmark.data.run_photos import find_run_photos
from fieldmark.errors import RecipeError
from fieldmark.evaluation.open_set import describe_open_set_run
from fieldmark.evaluation.uncertainty import UncertaintyOptions
from fieldmark.finder.finder_run import FinderRun
from fieldmark.network.network import Network
from fieldmark.recipe import Recipe
from fieldmark.recipe.renamed import rename_keys
from fieldmark.run import Run, lock_run

KEPT = (
    "name",
    "trained_on",
    "licence",
    "recipe",
    "weights",
    "teacher",
    "baselines",
    "tests",
    "training",
    "crops",
    "open_set_run",
    "accuracy_before_rounding",
    "ensemble",
)


def rebuild_model(
    folder: Path,
    new_preparation: bool = False,
    recipe: Recipe | None = None,
    weights_dtype: str | None = None,
    formats: Collection[str] = (),
) -> dict:
    """Export the network of a run into its folder, through the gate; return the card.

    Another `recipe` than the run's own may change thresholds and scores; `weights_dtype` changes
    the number format of the file; `formats` are those of further files. Raises RunError where
    photos of the split are missing or, unless `new_preparation`, are prepared differently than at
    training, RecipeError for a recipe that needs retraining, and LockedError if another process
    trains or exports the run. The errors of `export_model` are raised too.
    """
    _ = Run(folder).card  # a folder that is no run is not locked
    lock = lock_run(folder)
    try:
        run = Run(folder)
        network = Network.load(run, check_preparation=not new_preparation)
        facts = {key: run.card[key] for key in KEPT if key in run.card}
        facts["recipe"] = rename_keys(facts["recipe"])
        if recipe:
            check_needs_no_training(facts["recipe"], recipe)
            facts |= describe_recipe(recipe, run.split, run.name)
            facts["open_set_run"] = describe_open_set_run(recipe.open_set_run)
        if weights_dtype:
            facts["recipe"] = facts["recipe"] | {"weights_dtype": weights_dtype}
        options = UncertaintyOptions.from_recipe(facts["recipe"], facts.get("open_set_run"))
        dtype = facts["recipe"].get("weights_dtype", DEFAULT)
        return export_model(
            network,
            run.split,
            find_run_photos(run),
            facts,
            folder,
            options,
            dtype,
            formats=formats,
        )
    finally:
        lock.release()


def is_finder_run(folder: Path) -> bool:
    """Return whether a folder is the run of a finder, of which files may be missing."""
    run, finder = Run(folder), FinderRun(folder)
    species_files = run.model_file, run.weights_file, run.split_file
    finder_files = finder.best_file, finder.facts_file, finder.model_file, finder.weights_file
    return any(map(Path.is_file, finder_files)) and not any(map(Path.is_file, species_files))


def check_needs_no_training(old: dict, recipe: Recipe) -> None:
    """Raise RecipeError where a recipe would have trained another network than the `old` one."""
    trained = Recipe().model_dump() | old
    changed = [key for key, value in recipe.training_keys().items() if trained[key] != value]
    if changed:
        raise RecipeError(
            f"These keys need retraining: {', '.join(f'`{key}`' for key in changed)}. Use "
            "`fieldmark train`, or leave them as in the run's recipe.yaml."
        )
