"""Run train.ipynb by a recipe: check the YAML first, then leave a run behind in runs/<name>/."""

import argparse
import ast
import difflib
import sys
from pathlib import Path

import papermill
import timm
import yaml
from papermill.exceptions import PapermillExecutionError

from export.weights_dtype import PRECISIONS as STORED
from fieldmark.data.locations import PhotosError, folder
from fieldmark.data.ood_photos import promises, rehearsal
from fieldmark.errors import UserError, WeightsError
from fieldmark.evaluation.ood import SCORES
from fieldmark.evaluation.uncertainty import AUTO
from fieldmark.network.backbone import timm_options
from fieldmark.network.weights import find_weights_file, resolve_weights
from fieldmark.run import Run
from fieldmark.training.distillation import check_teacher
from fieldmark.training.fit import OPTIMIZERS, SCHEDULES
from fieldmark.training.mixed_precision import PRECISIONS
from fieldmark.training.tracking.trackers import PACKAGES as TRACKERS
from fieldmark.training.tracking.trackers import lacking

NOTEBOOK = Path("train.ipynb")
OWNERS = ("PhotosError", "WeightsError", "RecipeError", "NetworkError", "FitError")
OWNERS += ("PrecisionError", "TrackError", "RunError")

CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": SCHEDULES,
    "precision": PRECISIONS,
    "batch_norm": ("auto", "still", "learn"),
    "head_from": ("random", "probe", "weights"),
    "unknown": (AUTO, *SCORES),
    "stored": STORED,
}
RANGES = {
    "level": (0.5, 0.999),
    "rejected": (0.001, 0.5),
    "closest farthest resize_from": (0.05, 1),
    "light colour erase dropout label_smoothing teacher_share average weight_decay decay": (0, 1),
    "tune_share calibrate_share unseen_share": (0, 0.9),
    "batch_size accumulate restarts fewest": (1, 100_000),
    "size train_size": (0, 4096),
    "seed frozen_epochs epochs frozen_stages patience views": (0, 1_000_000),
    "mixup cutmix teacher_own": (0, 100),
    "frozen_rate rate": (0, 100),
    "rotate": (0, 180),
}
HINTS = {
    float: " YAML reads 1e-3 as text; write 1.0e-3.",
    list: " Write it in brackets, as in [csv].",
}


class RecipeError(UserError):
    """A recipe that can't be run; the text says which key to mend."""


def read(path: Path) -> dict:
    """Read a recipe and check each key against the notebook's parameters cell.

    Raises RecipeError for a file, key, type or architecture that isn't right.
    """
    if not path.is_file():
        near = ", ".join(str(p) for p in sorted(Path("recipes").rglob("*.yaml")))
        raise RecipeError(f"There is no recipe {path}. There are: {near}.")
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {error}") from error
    if not isinstance(recipe, dict):
        raise RecipeError(f"{path} must be lines of `key: value`.")
    try:
        return checked(recipe)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error


def checked(recipe: dict) -> dict:
    """Check parameters against the notebook's own, and fill in the ones that are not there.

    Raises RecipeError for a key, type, value or architecture that isn't right.
    """
    known = defaults()
    for key, value in recipe.items():
        if key not in known:
            raise RecipeError(f"there is no parameter `{key}`.{nearest(key, known)}")
        wanted = type(known[key])
        fits = (int, float) if wanted is float else wanted
        if not isinstance(value, fits) or (isinstance(value, bool) and wanted is not bool):
            hint = HINTS.get(wanted, "")
            raise RecipeError(f"`{key}: {value}` must be of type {wanted.__name__}.{hint}")
    recipe = known | recipe
    for key, choices in CHOICES.items():
        if recipe[key] not in choices:
            raise RecipeError(f"`{key}: {recipe[key]}` must be one of: {', '.join(choices)}.")
    for keys, (low, high) in RANGES.items():
        for key in keys.split():
            if not low <= recipe[key] <= high:
                raise RecipeError(f"`{key}: {recipe[key]}` must be from {low} to {high}.")
    if recipe["mixup"] and recipe["cutmix"]:
        raise RecipeError("`mixup` and `cutmix` can't both mix the same photos; set one to 0.")
    if not recipe["frozen_epochs"] + recipe["epochs"]:
        raise RecipeError("with neither `frozen_epochs` nor `epochs` nothing is learned.")
    for arch in (recipe["arch"], recipe["teacher"].get("arch", recipe["arch"])):
        if not timm.is_model(arch):
            near = nearest(arch, timm.list_models())
            raise RecipeError(f"timm has no architecture `{arch}`.{near}")
        if (recipe["resize_from"] < 1 or recipe["train_size"]) and timm_options(arch, 0):
            raise RecipeError(
                f"`{arch}` takes photos of one size only; leave `resize_from` and `train_size` out."
            )
    if recipe["teacher"] and "arch" not in recipe["teacher"]:
        raise RecipeError("`teacher` needs an `arch`.")
    check_options(recipe["arch_options"], known)
    check_trackers(recipe["track"])
    return recipe


def check_options(options: dict, known: dict) -> None:
    """Raise RecipeError for `arch_options` that are `known` as keys, or no mean and std."""
    if taken := [key for key in options if key in known]:
        raise RecipeError(f"`arch_options` can't hold `{taken[0]}`: that is a key of its own.")
    for key in {"mean", "std"} & set(options):
        numbers = options[key]
        three = isinstance(numbers, list) and len(numbers) == 3
        if not three or not all(isinstance(each, int | float) for each in numbers):
            raise RecipeError(f"`arch_options` needs three numbers for `{key}`, one a channel.")


def check_trackers(track: list) -> None:
    """Raise RecipeError unless all trackers are known and their packages are installed."""
    for word in track:
        if word not in list(TRACKERS):
            near = nearest(word, TRACKERS)
            raise RecipeError(f"`track` knows {', '.join(TRACKERS)}, and no `{word}`.{near}")
    if missing := lacking(track):
        raise RecipeError(
            f"`track: {track}` needs what isn't installed ({', '.join(missing)}). Install it: "
            '.venv/bin/pip install -e ".[track]"'
        )


def defaults() -> dict:
    """Read the notebook's parameters cell."""
    found = papermill.inspect_notebook(str(NOTEBOOK))
    return {name: ast.literal_eval(facts["default"]) for name, facts in found.items()}


def parameters(variables: dict) -> dict:
    """Pick the parameters out of a notebook's variables, but for where it writes."""
    return {name: variables[name] for name in defaults() if name != "out"}


def nearest(word: str, known) -> str:
    """Suggest what may have been meant."""
    found = difflib.get_close_matches(str(word), list(known), 3, 0.5)
    return f" Did you mean {' or '.join(found)}?" if found else ""


def run(path: Path) -> Path:
    """Run the notebook by a recipe; the executed notebook, recipe and model are in the run."""
    recipe = read(path)
    folder(recipe["photos"])
    find_weights_file(resolve_weights(recipe["weights"]))
    promises(recipe, rehearsal(recipe["rehearsal"]))
    if recipe["teacher"]:
        check_teacher(**recipe["teacher"])
    out = Path("runs") / path.stem
    out.mkdir(parents=True, exist_ok=True)
    Run(out).remove_results()
    recipe["out"] = out.as_posix()
    papermill.execute_notebook(
        str(NOTEBOOK),
        str(out / "train.ipynb"),
        parameters=recipe,
        kernel_name="python3",
        stdout_file=sys.stdout,
        progress_bar=sys.stderr.isatty(),
    )
    return out


def main() -> int:
    """Run a recipe; 2 means that its owner has something to mend, 1 that the run failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    try:
        out = run(parser.parse_args().recipe)
    except (RecipeError, PhotosError, WeightsError) as error:
        print(error, file=sys.stderr)
        return 2
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 2 if error.ename in OWNERS else 1
    print(f"The model file, all about it and the executed notebook are in {out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
