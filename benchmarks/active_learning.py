"""Compare which photos to label first: typical ones, uncertain ones, or any.

    FIELDMARK_PHOTOS=... FIELDMARK_WEIGHTS=... python -m benchmarks.active_learning [--save]

Photos are labelled in rounds, and a linear probe on the pretrained backbone learns from them. From
which number of labels per species uncertain photos are better is chosen on `train`: each fold is
judged by labels of the others. `calibration` judges labels of all of `train`.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import typer

from benchmarks.results import MODEL, RunFolder, Save, report
from fieldmark.explain.explained_run import ExplainedRun
from fieldmark.explain.folds import split_folds
from fieldmark.explain.photos.active_learning import simulate_labelling
from fieldmark.explain.pretrained import compute_pretrained_features
from fieldmark.statistics import bootstrap_interval

BUDGETS = (1, 2, 3, 5, 7, 10)  # labels per species after each round
SHOWN = (1, 2, 5, 10)
FOLDS = 5
SWITCHES = (0, 1, 2, 3, 5, 10)  # labels per species up to which photos are typical


def main(run: RunFolder = MODEL, seeds: int = 5, save: Save = False) -> None:
    """Print the accuracy by labels per species for each strategy, on both sets of judges."""
    explained = ExplainedRun.load(Path(run))
    features = compute_pretrained_features(explained)
    truth = explained.predictions.truth
    split = explained.photos["split"].to_numpy(str)
    train, held_out = np.flatnonzero(split == "train"), np.flatnonzero(split == "calibration")
    folds = list(split_folds(explained.photos.iloc[train], FOLDS))
    crossed = [(train[pool], train[judges]) for pool, judges in folds]
    rows = []
    parts = {
        "train, folds": [crossed[seed % FOLDS] for seed in range(seeds)],
        "calibration": [(train, held_out)] * seeds,
    }
    for name, pairs in parts.items():
        correct = {key: [] for key, _ in list_strategies()}
        for seed, (pool, judges) in enumerate(pairs):
            known = {}
            for key, strategies in list_strategies():
                budgets = np.array(BUDGETS) * len(np.unique(truth[pool]))
                right = simulate_labelling(
                    strategies,
                    np.minimum(budgets, len(pool)).tolist(),
                    (features[pool], truth[pool]),
                    (features[judges], truth[judges]),
                    100 * seed,
                    known,
                )
                correct[key].append(right)
                typer.echo(f"{name}, seed {seed}, {key}: {right.mean(1).round(3)}", err=True)
        rows += tabulate(name, correct, pairs)
    columns = ["% right with labels per species", *map(str, SHOWN), "mean", "judged by", "n"]
    report("active-learning", "python -m benchmarks.active_learning", columns, rows, save)


def list_strategies() -> Iterator[tuple[str, list[str]]]:
    """Yield each name with the strategies of its rounds."""
    yield "random", ["random"] * len(BUDGETS)
    for switch in SWITCHES:
        name = f"typical up to {switch}, then uncertain"
        if switch in (0, BUDGETS[-1]):
            name = "typical" if switch else "uncertain, the first at random"
        yield name, ["typical" if budget <= switch else "uncertain" for budget in BUDGETS]


def tabulate(
    name: str, correct: dict[str, list[np.ndarray]], pairs: list[tuple[np.ndarray, np.ndarray]]
) -> list[list[str]]:
    """Return a row for each strategy: its accuracy, and from the second on the difference.

    A photo's accuracy is its mean over the seeds in which it judges, so that intervals are those
    of a bootstrap over photos. The difference is that to random photos, by the same seeds.
    """
    judges = np.concatenate([rows for _, rows in pairs])
    photos = np.unique(judges, return_inverse=True)[1]
    count = np.bincount(photos)

    def per_photo(key: str, budgets: Sequence[int]) -> np.ndarray:
        rounds = [BUDGETS.index(budget) for budget in budgets]
        right = np.concatenate([each[rounds].mean(0) for each in correct[key]])
        return np.bincount(photos, right) / count

    rows = []
    for key in correct:
        cells = []
        for budgets in (*([budget] for budget in SHOWN), list(SHOWN)):
            values = per_photo(key, budgets)
            if key != "random":
                values = values - per_photo("random", budgets)
            figure = bootstrap_interval([values], np.mean, proportion=False)
            sign = "" if key == "random" else "+"
            value, low, high = (100 * end for end in (figure["value"], *figure["interval"]))
            cells.append(f"{value:{sign}.1f} ({low:{sign}.1f} to {high:{sign}.1f})")
        title = key if key == "random" else f"{key}: more than random"
        rows.append([title, *cells, name, f"{len(count):,}, {len(pairs)} seeds"])
    return rows


if __name__ == "__main__":
    typer.run(main)
