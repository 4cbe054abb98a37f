"""Test whether one run is better than another on the same photos, beyond chance."""

from itertools import combinations

import pandas as pd

from fieldmark.errors import RunError
from fieldmark.run import TRAINING_SPLITS, Run
from fieldmark.statistics import adjust_holm, mcnemar_test, paired_difference_interval

SIGNIFICANCE = 0.05  # family-wise error rate of all pairs together
MIN_OVERLAP = 0.5  # of the evaluation photos of two runs, below which they are not compared
COLUMNS = ("first", "second", "n", "only_first", "only_second", "points", "low", "high", "p")


class NotComparedError(RunError):
    """Two runs cannot be compared; the message is the reason, as a clause."""


def match_photos(first: Run, second: Run) -> pd.DataFrame:
    """Return the photos that evaluated both runs and trained neither, indexed by path.

    Columns: `label`; whether each run was correct in `first` and `second`, and it alone in
    `only_first` and `only_second`. Raises NotComparedError if the runs have different species,
    labels or evaluation photos.
    """
    if first.labels != second.labels:
        raise NotComparedError("they distinguish different species")
    tables = [run.predictions.set_index("path") for run in (first, second)]
    paths = tables[0].index.intersection(tables[1].index)
    labels = [table.loc[paths, "label"] for table in tables]
    if (labels[0] != labels[1]).any():
        raise NotComparedError("photos of the same name have different labels")
    for run in (first, second):
        training = run.split[run.split["split"].isin(TRAINING_SPLITS)]
        paths = paths.difference(pd.Index(training["path"]))
    count = min(len(table) for table in tables)
    if len(paths) < max(1, MIN_OVERLAP * count):
        raise NotComparedError(
            f"only {len(paths)} of {count} photos evaluated both and trained neither"
        )
    a, b = ((table["label"] == table["predicted"]).loc[paths] for table in tables)
    columns = {"first": a, "second": b, "only_first": a & ~b, "only_second": b & ~a}
    return pd.DataFrame({"label": labels[0].loc[paths], **columns})


def compare_pair(first: Run, second: Run) -> dict:
    """Compare two runs on the photos that they share; the result has the keys COLUMNS.

    `points` is the difference of accuracy in percentage points, `low` and `high` its 95 % interval
    (Bonett-Price), `p` that of McNemar's exact test. Raises NotComparedError.
    """
    photos = match_photos(first, second)
    n = len(photos)
    only_first, only_second = (int(photos[name].sum()) for name in ("only_first", "only_second"))
    low, high = paired_difference_interval(only_first, only_second, n)
    return {
        "first": first.name,
        "second": second.name,
        "n": n,
        "only_first": only_first,
        "only_second": only_second,
        "points": 100 * (only_first - only_second) / n,
        "low": 100 * low,
        "high": 100 * high,
        "p": mcnemar_test(only_first, only_second),
    }


def compare_pairs(runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare every two runs, the better one first; also return the pairs not compared, and `why`.

    `adjusted` is p adjusted for all pairs (Holm), `significant` whether it is below SIGNIFICANCE.
    """
    rows, not_compared = [], []
    for first, second in combinations(runs, 2):
        try:
            row = compare_pair(first, second)
            rows.append(row if row["points"] >= 0 else compare_pair(second, first))
        except NotComparedError as error:
            not_compared.append((first.name, second.name, str(error)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["adjusted"] = adjust_holm(table["p"].to_numpy(float))
    table["significant"] = table["adjusted"] < SIGNIFICANCE
    table = table.sort_values(["p", "points"], ascending=[True, False], ignore_index=True)
    return table, pd.DataFrame(not_compared, columns=["first", "second", "why"])


def compare_classes(first: Run, second: Run) -> pd.DataFrame:
    """Compare the recall of two runs per species, the largest differences first.

    Columns: `label`, `n` photos that they share, correct in `only_first` and `only_second`,
    `recall_first`, `recall_second` and their difference in `points`. Species without such photos
    come last. Raises NotComparedError.
    """
    groups = match_photos(first, second).groupby("label")
    counts = groups[["only_first", "only_second"]].sum()
    counts.insert(0, "n", groups.size())
    labels = pd.Index(sorted(first.labels), name="label")
    recalls = groups[["first", "second"]].mean().add_prefix("recall_").reindex(labels)
    classes = counts.reindex(labels, fill_value=0).join(recalls).reset_index()
    classes["points"] = 100 * (classes["recall_first"] - classes["recall_second"])
    order = {"ascending": False, "kind": "stable", "ignore_index": True}
    return classes.sort_values(["points", "n"], key=abs, **order)
