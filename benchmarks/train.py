"""Measure how fast each way to train reaches which accuracy.

    FIELDMARK_PHOTOS=... FIELDMARK_WEIGHTS=... FIELDMARK_TEACHER=... python -m benchmarks.train

Every way runs in a process of its own, one after the other, on the same photos, weights, split and
seed: fastai as documented; the same with a backbone that is really frozen; a linear probe; a
recipe, with its teacher and without; the quickest recipe; and one whose backbone was trained on
birds. Photos of `calibration` are the test set after each epoch; the time of evaluation is not
counted. Writes JSON and a plot to `--out`. `--ways no-teacher --epochs 0` measures only the frozen
phase and the model file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from fastai.vision.all import set_seed
from matplotlib.figure import Figure

from benchmarks.clock import Clock
from benchmarks.results import percent, report
from benchmarks.ways import list_split, train_as_documented, train_by_recipe, train_probe
from fieldmark.network.weights import VARIABLE as WEIGHTS
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


def measure(way: str, recipe: Recipe, epochs: int) -> dict:
    """Train in one way and return its measurements."""
    set_seed(recipe.seed, reproducible=True)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        if way in ("documented", "frozen"):
            train_as_documented(recipe, clock, frozen=way == "frozen")
        elif way == "probe":
            train_probe(recipe, clock)
        else:
            if way == "no-teacher":
                recipe = recipe.model_copy(update={"teacher": {}})
            train_by_recipe(recipe, clock, epochs, Path(folder))
    return {
        "points": clock.points,
        "epochs": clock.epochs,
        "parts": clock.parts,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


def main() -> None:
    """Run every way in a process, print the tables, plot the curves."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/cub100-first.yaml"))
    parser.add_argument("--only-recipe", action="store_true", help="use --recipe in every way")
    parser.add_argument("--ways", nargs="*", choices=list(TITLES), default=list(TITLES))
    parser.add_argument(
        "--epochs", type=int, nargs="*", default=[1, 6], help="of fine-tuning by --recipe"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-train"))
    parser.add_argument("--save", action="store_true", help="write files in docs/results")
    parser.add_argument("--way", help=argparse.SUPPRESS)  # measure one way in this process
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    scratch = options.out / "way.json"
    if options.way:
        result = measure(options.way, Recipe.load(options.recipe), options.epochs[0])
        scratch.write_text(json.dumps(result))
        return
    results = {}
    for way in options.ways:
        path: Path = options.recipe
        if not options.only_recipe:
            path = RECIPES.get(way, path)
        by_way = {"recipe": options.epochs, "no-teacher": options.epochs[-1:]}
        by_way |= {key: [Recipe.load(path).epochs] for key in RECIPES}
        for epochs in by_way.get(way, [0]):
            title = TITLES[way]
            if way in by_way:
                title += f", {epochs} epoch{'' if epochs == 1 else 's'}"
            command = [sys.executable, "-m", "benchmarks.train", "--way", way]
            command += ["--recipe", str(path), "--out", str(options.out), "--epochs", str(epochs)]
            subprocess.run(command, check=True, env=environment_of(way))
            results[title] = json.loads(scratch.read_text())
            (options.out / "train.json").write_text(json.dumps(results, indent=2) + "\n")
            print(f"{title}: {results[title]['points'][-1]}", flush=True)
    scratch.unlink(missing_ok=True)
    split = list_split(Recipe.load(options.recipe))[2]["split"]
    print_tables(results, int((split == "calibration").sum()), options.save)
    plot_curves(results).savefig(options.out / "train.png", dpi=150, bbox_inches="tight")


def environment_of(way: str) -> dict[str, str]:
    """Return the environment of a way: the backbone trained on birds gets the teacher's weights."""
    environment = dict(os.environ)
    if way == "birds":
        environment.pop(WEIGHTS, None)  # those are of another network
        if TEACHER in environment:
            environment[WEIGHTS] = environment[TEACHER]
    return environment


def print_tables(results: dict, n: int, save: bool) -> None:
    """Print the measurements as Markdown tables; `n` photos were tested."""
    command, rows = "python -m benchmarks.train", []
    for title, result in results.items():
        seconds, value = result["points"][-1]
        times = [[t for t, reached in result["points"] if reached >= goal] for goal in TARGETS]
        row = [title, percent(wilson_interval(round(value * n), n)), f"{seconds:.0f}"]
        row += [f"{reached[0]:.0f}" if reached else "never" for reached in times]
        rows.append([*row, f"{result['megabytes']:,.0f}"])
    goals = [f"to {100 * goal:.0f} %" for goal in TARGETS]
    columns = ["", f"right (95 % interval), n = {n} photos", "seconds", *goals, "MB of memory"]
    report("train", command, columns, rows, save)
    rows = [
        [title, *(f"{epoch.get(name, 0):.1f}" for name in OPERATIONS)]
        for title, result in results.items()
        for epoch in result["epochs"][-1:]
    ]
    columns = ["ms per photo in the last epoch", *OPERATIONS]
    report("train-operations", command, columns, rows, save)
    rows = [
        [title, *(f"{result['parts'].get(name, 0):.1f}" for name in PARTS)]
        for title, result in results.items()
        if result["parts"]
    ]
    report("train-parts", command, ["seconds", *PARTS], rows, save)


def plot_curves(results: dict) -> Figure:
    """Plot accuracy against seconds."""
    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for title, result in results.items():
        times, values = zip(*result["points"], strict=True)
        axes.plot(times, [100 * value for value in values], marker="o", label=title)
    axes.set_xlabel("seconds, without evaluation")
    axes.set_ylabel("accuracy, %")
    axes.set_ylim(bottom=50)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
