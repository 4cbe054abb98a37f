"""Measure how fast each way to train reaches which accuracy.

    FIELDMARK_PHOTOS=... FIELDMARK_WEIGHTS=... FIELDMARK_TEACHER=... python -m benchmarks.train

Every way runs in a process of its own, one after the other, on the same photos, weights, split and
seed. Photos of `calibration` are the test set after each epoch; the time of evaluation is not
counted. Writes JSON and a plot to `--out`. `--way no-teacher --epochs 0` measures only the frozen
phase and the model file.
"""

import multiprocessing
import os
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import typer
from fastai.vision.all import set_seed
from matplotlib.figure import Figure

from benchmarks.clock import Clock
from benchmarks.results import Save, percent, report
from benchmarks.ways import list_split, train_as_documented, train_by_recipe, train_probe
from fieldmark.files import write_json
from fieldmark.network.weights import VARIABLE as WEIGHTS
from fieldmark.plotting import create_axes, save_figure
from fieldmark.recipe import Recipe
from fieldmark.statistics import wilson_interval
from fieldmark.training.create_teacher import VARIABLE as TEACHER

RECIPES = {
    "quickest": Path("recipes/cub100-quickest.yaml"),
    "birds": Path("recipes/cub100-mobilenetv2-birds.yaml"),
}
TITLES = {
    "documented": "fastai as documented, 3 + 3 epochs",
    "frozen": "the same with a backbone that is really frozen",
    "probe": "linear probe on the frozen backbone, no model file",
    "quickest": "`cub100-quickest`",
    "recipe": "the recipe",
    "no-teacher": "the recipe without its teacher",
    "birds": "a backbone trained on birds",
}
TARGETS = (0.8, 0.9, 0.92, 0.94)  # accuracies
OPERATIONS = ("data", "augment", "forward", "loss", "backward", "step")
PARTS = ("survey", "decode", "frozen", "teacher", "fine-tuning", "file")


def main(
    recipe: Path = Path("recipes/cub100-first.yaml"),
    only_recipe: bool = False,
    way: list[str] = list(TITLES),  # noqa: B006
    epochs: list[int] = [1, 6],  # noqa: B006
    out: Path = Path("runs/benchmark-train"),
    save: Save = False,
) -> None:
    """Measure ways to train, those by `recipe` with some numbers of `epochs`.

    With --only-recipe the ways that have a recipe of their own use `recipe`, too.
    """
    results = {}
    for name in way:
        path = recipe if only_recipe else RECIPES.get(name, recipe)
        counts = {"recipe": epochs, "no-teacher": epochs[-1:]}
        counts |= {key: [Recipe.load(path).epochs] for key in RECIPES}
        for count in counts.get(name, [0]):
            suffix = f", {count} epoch{'' if count == 1 else 's'}" if name in counts else ""
            title = TITLES[name] + suffix
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                results[title] = pool.submit(measure, name, path, count).result()
            write_json(out / "train.json", results)
    split = list_split(Recipe.load(recipe))[2]["split"]
    print_tables(results, int((split == "calibration").sum()), save)
    save_figure(plot_curves(results), out, "train")


def measure(way: str, path: Path, epochs: int) -> dict:
    """Train in one way and return its measurements."""
    multiprocessing.set_start_method(None, force=True)  # the default one for loading photos
    recipe, clock = Recipe.load(path), Clock()
    select_weights(way)
    set_seed(recipe.seed, reproducible=True)
    with tempfile.TemporaryDirectory() as folder:
        if way in ("documented", "frozen"):
            train_as_documented(recipe, clock, frozen=way == "frozen")
        elif way == "probe":
            train_probe(recipe, clock)
        else:
            if way == "no-teacher":
                recipe = recipe.model_copy(update={"teacher": {}})
            train_by_recipe(recipe, clock, epochs, Path(folder))
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    measured = {"points": clock.points, "epochs": clock.epochs, "parts": clock.parts}
    return measured | {"megabytes": megabytes}


def select_weights(way: str) -> None:
    """Give the backbone trained on birds the teacher's weights; others are of another network."""
    if way == "birds":
        os.environ[WEIGHTS] = os.environ.get(TEACHER, "")


def print_tables(results: dict, n: int, save: bool) -> None:
    """Print the measurements; `n` photos were tested."""
    command, rows, operations, parts = "python -m benchmarks.train", [], [], []
    for title, result in results.items():
        seconds, value = result["points"][-1]
        row = [title, percent(wilson_interval(round(value * n), n)), f"{seconds:.0f}"]
        for goal in TARGETS:
            times = [f"{at:.0f}" for at, reached in result["points"] if reached >= goal]
            row.append(times[0] if times else "never")
        rows.append([*row, f"{result['megabytes']:,.0f}"])
        for epoch in result["epochs"][-1:]:
            operations.append([title, *(f"{epoch.get(name, 0):.1f}" for name in OPERATIONS)])
        if result["parts"]:
            parts.append([title, *(f"{result['parts'].get(name, 0):.1f}" for name in PARTS)])
    goals = [f"to {100 * goal:.0f} %" for goal in TARGETS]
    columns = ["", f"right (95 % interval), n = {n} photos", "seconds", *goals, "MB of memory"]
    report("train", command, columns, rows, save)
    columns = ["ms per photo in the last epoch", *OPERATIONS]
    report("train-operations", command, columns, operations, save)
    report("train-parts", command, ["seconds", *PARTS], parts, save)


def plot_curves(results: dict) -> Figure:
    """Plot accuracy against seconds."""
    figure, ((axes,),) = create_axes(8, 5)
    for title, result in results.items():
        times, values = zip(*result["points"], strict=True)
        axes.plot(times, [100 * value for value in values], marker="o", label=title)
    axes.set(xlabel="seconds, without evaluation", ylabel="accuracy, %", ylim=(50, None))
    axes.legend()
    return figure


if __name__ == "__main__":
    typer.run(main)
