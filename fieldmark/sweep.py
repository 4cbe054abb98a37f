"""Train a recipe with each combination of seeds, architectures and rates, on Ray Tune.

Every trial is `fieldmark train` in a process of its own, and an ordinary run. Trials are ranked on
`valid`; `calibration` chooses nothing.
"""

import logging
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from fieldmark.errors import RunError
from fieldmark.files import write_text
from fieldmark.recipe import Recipe
from fieldmark.run import Run

WORDS = {"seed": "seed", "arch": "arch", "learning_rate": "rate"}  # parameter -> in names
SHOWN = 1000  # characters of a trial's error
START_SECONDS = 120  # for Ray on this machine; a busy one needs more than Ray's own 30


class Trial(NamedTuple):
    """One combination: its run's folder, what varies, and its whole recipe."""

    folder: Path
    values: dict[str, Any]
    recipe: Recipe

    @property
    def recipe_file(self) -> Path:
        """The recipe of this trial alone, which `fieldmark train` takes."""
        return self.folder.parent / "recipes" / f"{self.folder.name}.yaml"

    def find_run(self) -> Run | None:
        """Return the finished run of this recipe, None if there is none."""
        if not self.folder.is_dir():
            return None
        run = Run(self.folder)
        with suppress(RunError):
            run.check_complete()
            values = self.recipe.model_dump(mode="json", exclude={"out"})
            if {name: run.recipe.get(name) for name in values} == values:
                return run
        return None


def list_trials(recipe: Recipe, folder: Path, grid: Mapping[str, list]) -> list[Trial]:
    """Return a Trial for each combination of the values in `grid`, by parameter.

    Raises RecipeError for a value that the recipe cannot have.
    """
    trials = []
    for combination in product(*grid.values()):
        values = dict(zip(grid, combination, strict=True))
        name = "_".join(f"{WORDS[key]}-{value}" for key, value in values.items())
        name = re.sub(r"[^\w.-]+", "-", name)
        trial = Recipe.parse(recipe.model_dump(exclude={"out"}) | values)
        trials.append(Trial(folder / (name or "trial"), values, trial))
    return trials


def run_trials(trials: list[Trial], jobs: int, address: str = "") -> dict[str, str]:
    """Run the trials that are not finished, and return the errors of those that failed, by name.

    `jobs` of them run at a time, each with its part of the CPUs and GPUs; with the `address` of a
    Ray cluster as many as it has room for.
    """
    waiting = [trial for trial in trials if not trial.find_run()]
    for trial in waiting:
        values = trial.recipe.model_dump(mode="json", exclude={"out"})
        write_text(trial.recipe_file, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return run_on_ray(waiting, jobs, address) if waiting else {}


def run_on_ray(trials: list[Trial], jobs: int, address: str) -> dict[str, str]:
    """Run trials on Ray Tune; return the errors by the names of their folders."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_raylet_start_wait_time_s", str(START_SECONDS))
    import ray
    from ray import tune

    if address:
        ray.init(address, log_to_driver=False)
    else:
        ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    resources = {"cpu": 1.0, "gpu": 0.0}
    if not address:
        found = ray.cluster_resources()
        resources = {kind: found.get(kind.upper(), 0) / jobs for kind in resources}
    runs = {trial.folder.name: [str(trial.recipe_file), str(trial.folder)] for trial in trials}
    space = {"name": tune.grid_search(list(runs)), "runs": runs, "start": str(Path.cwd())}
    with tempfile.TemporaryDirectory(prefix="fieldmark-") as scratch:
        tuner = tune.Tuner(
            tune.with_resources(run_trial, resources),
            param_space=space,
            tune_config=tune.TuneConfig(max_concurrent_trials=jobs if not address else None),
            run_config=tune.RunConfig(storage_path=scratch, name="sweep", verbose=0),
        )
        try:
            grid = tuner.fit()
            results = [grid[index] for index in range(len(grid))]
        finally:
            ray.shutdown()
    errors = dict.fromkeys(runs, "It was not run.")
    for result in results:
        if result.config:
            metrics = result.metrics or {}
            errors[result.config["name"]] = metrics.get("error", str(result.error))
    return {name: error for name, error in errors.items() if error}


def run_trial(config: dict) -> dict:
    """Run `fieldmark train` for one trial in the folder of the sweep; return its `error`, or "".

    The process is that of a Ray worker, on this machine or another that shares the folder.
    """
    recipe, folder = config["runs"][config["name"]]
    command = [sys.executable, "-m", "commands", "train", recipe, "--out", folder, "--child"]
    done = subprocess.run(  # noqa: S603
        command, cwd=config["start"], capture_output=True, text=True, errors="replace"
    )
    error = done.stderr.strip()[-SHOWN:] or f"It ended with status {done.returncode}."
    return {"error": error if done.returncode else ""}


def list_results(trials: list[Trial]) -> pd.DataFrame:
    """Return a row per trial: what varies, accuracy and log loss on `valid`, and seconds.

    They are those of the kept epoch, and missing if the trial is not finished.
    """
    rows = []
    for trial in trials:
        row = {"run": trial.folder.name} | trial.values
        if run := trial.find_run():
            kept = run.card["training"]["kept_epoch"]
            history = run.history
            if kept:
                is_kept = (history["phase"] == kept["phase"]) & (history["epoch"] == kept["epoch"])
                history = history[is_kept]
            figures = history.iloc[0] if len(history) else {}
            row |= {f"valid_{name}": figures.get(name) for name in ("log_loss", "accuracy")}
            row |= {"seconds": run.seconds}
        rows.append(row)
    columns = ["run", *(trials[0].values if trials else []), "valid_log_loss", "valid_accuracy"]
    return pd.DataFrame(rows, columns=[*columns, "seconds"])


def rank_settings(results: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds by architecture and rate, the lowest log loss on `valid` first."""
    keys = [name for name in ("arch", "learning_rate") if name in results]
    finished = results.dropna(subset="valid_log_loss")
    if not keys or finished.empty:
        return finished.sort_values("valid_log_loss")
    figures = {"trials": ("run", "count"), "valid_log_loss": ("valid_log_loss", "mean")}
    figures |= {"valid_accuracy": ("valid_accuracy", "mean"), "seconds": ("seconds", "mean")}
    return finished.groupby(keys, as_index=False).agg(**figures).sort_values("valid_log_loss")
