"""Compare training in two processes with training in one, on the same splits and seeds.

    python -m benchmarks.distributed

Every run is `recipes/quick.yaml` on drawn birds, with more photos in `calibration`; one after the
other, the numbers of processes taking turns. Two processes have half of the CPUs each. Finished
runs, runs/distributed-*, are not repeated.
"""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import typer
import yaml

from benchmarks.results import Save, percent, report
from fieldmark.recipe import Recipe
from fieldmark.run import Run
from fieldmark.statistics import mcnemar_test, paired_difference_interval, wilson_interval

ROOT = Path(__file__).parents[1]
RECIPE = Path("recipes/quick.yaml")
SHARE = 0.4  # of the photos in `calibration`, so that differences show
COUNTS = (1, 2)


def main(seeds: int = 3, epochs: int = 10, frozen_epochs: int = 20, save: Save = False) -> None:
    """Measure accuracy on `calibration` by number of processes."""
    settings = {"epochs": epochs, "frozen_epochs": frozen_epochs, "calibration_share": SHARE}
    settings |= {"weights_dtype": "fp32"}
    runs: dict[int, list[Run]] = {count: [] for count in COUNTS}
    for seed in range(seeds):
        for count in COUNTS:
            runs[count].append(train(count, settings | {"seed": seed}))
    right = {count: pd.concat([list_right(run) for run in runs[count]]) for count in COUNTS}
    rows = []
    for count in COUNTS:
        accuracy = wilson_interval(int(right[count].sum()), len(right[count]))
        by_seed = ", ".join(f"{100 * list_right(run).mean():.1f}" for run in runs[count])
        rows.append([str(count), percent(accuracy), f"{len(right[count])}", by_seed])
    one, two = (right[count].to_numpy() for count in COUNTS)
    only = int((two & ~one).sum()), int((one & ~two).sum())
    ends = (100 * value for value in paired_difference_interval(*only, len(one)))
    points = "{:+.1f} points ({:+.1f} to {:+.1f})".format(100 * (two.mean() - one.mean()), *ends)
    p = f"McNemar's exact test: p = {mcnemar_test(*only):.2f}"
    rows.append(["2 minus 1, paired", points, f"{len(one)}", p])
    columns = ["processes", "right (95 % interval)", "photos", "% by seed"]
    report("distributed", "python -m benchmarks.distributed", columns, rows, save)


def train(count: int, settings: dict) -> Run:
    """Train in so many processes; return the run."""
    stem = f"{count}-{settings['seed']}"
    folder = Path("runs/distributed")
    recipe = folder / f"distributed-{stem}.yaml"
    values = Recipe.load(ROOT / RECIPE).model_dump(exclude={"out"}) | settings
    folder.mkdir(parents=True, exist_ok=True)
    recipe.write_text(yaml.safe_dump(values))
    run = Run(Path("runs") / recipe.stem)
    if not run.metrics_file.is_file():
        environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
        command = [sys.executable, "-m", "commands", "train", str(recipe)]
        command += ["--processes", str(count)]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return Run(run.folder)


def list_right(run: Run) -> pd.Series:
    """Return whether each photo of `calibration` is predicted right, by path."""
    table = run.predictions.sort_values("path")
    return (table["label"] == table["predicted"]).set_axis(table["path"])


if __name__ == "__main__":
    typer.run(main)
